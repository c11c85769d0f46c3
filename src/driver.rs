//! Carries proxy events to the exchange and its decisions to the host.
//!
//! Every failure of the host on the way ends in a refusal: nothing passes unchecked because a call
//! did not work.

use std::rc::Rc;
use std::time::Duration;

use crate::exchange::{AnswerStep, Exchange, Step, internal};
use crate::fetch::Store;
use crate::head::{Edit, RequestHead, ResponseHead};
use crate::host::{Counter, Host, HostError};
use crate::policy::{Policy, Role};
use crate::reply::Reply;
use crate::service::SERVICE;
use crate::time::UnixTime;
use crate::token::{Cache, Crypto, Env};
use crate::trace::Trace;

/// Whether the message in hand goes on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// It waits, or was answered.
    Pause,
}

/// The time that is given where none is needed. Should it be needed after all, nothing is valid any
/// more.
const END_OF_TIME: Duration = Duration::MAX;

/// What the streams of one VM share.
pub struct Tools<'a> {
    /// Keys that are not in the policy, and tokens of this proxy.
    pub keys: &'a Store,
    /// Checks signatures.
    pub crypto: &'a dyn Crypto,
    /// Tokens that have been verified before.
    pub cache: &'a Cache,
}

/// One HTTP stream.
#[derive(Debug)]
pub struct Stream {
    exchange: Exchange,
    progress: Progress,
    /// What has come of the body in the meantime.
    held: Held,
    /// The issuers whose keys are awaited.
    awaited: Vec<usize>,
    /// The token of this proxy that is awaited.
    identity: Option<usize>,
    /// When the request came.
    since: Duration,
}

/// What came while nothing could be done with it.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// So many bytes of body, and whether they were all.
    body: Option<(usize, bool)>,
    trailers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The request's headers have not come.
    Start,
    /// Keys or a token of this proxy are awaited.
    Waiting,
    /// The body is being gathered.
    Gathering,
    /// The request is settled.
    Settled,
}

impl Stream {
    /// Begins a stream under a policy.
    pub fn new(policy: Rc<Policy>) -> Self {
        Self {
            exchange: Exchange::new(policy, Trace::off()),
            progress: Progress::Start,
            held: Held::default(),
            awaited: Vec::new(),
            identity: None,
            since: Duration::ZERO,
        }
    }

    /// The request's headers are here; `ends` when nothing follows.
    pub fn request_headers(&mut self, host: &mut dyn Host, tools: &Tools<'_>, ends: bool) -> Flow {
        let Ok(headers) = host.request_headers() else {
            return self.fail(host);
        };
        let head = RequestHead { headers };
        let now = match self.exchange.needs_time(&head) {
            true => host.now(),
            false => Ok(END_OF_TIME),
        };
        let Ok(now) = now else {
            return self.fail(host);
        };
        self.since = now;
        self.decide(host, tools, now, |exchange, env| {
            exchange.request(head, ends, env)
        })
    }

    fn decide(
        &mut self,
        host: &mut dyn Host,
        tools: &Tools<'_>,
        now: Duration,
        step: impl FnOnce(&mut Exchange, &Env<'_>) -> Step,
    ) -> Flow {
        let fetched = tools.keys.at(now);
        let env = Env {
            now: UnixTime::from(now),
            keys: &fetched,
            identities: &fetched,
            crypto: tools.crypto,
            cache: Some(tools.cache),
        };
        let met = (tools.cache.hits(), tools.cache.misses());
        let step = step(&mut self.exchange, &env);
        let hits = tools.cache.hits().saturating_sub(met.0);
        let misses = tools.cache.misses().saturating_sub(met.1);
        host.tally().tokens(hits, misses);
        let flow = self.carry_out(host, step);
        self.tell_who(host);
        flow
    }

    /// Until when the request waits for what is being fetched, if it does.
    pub fn waits_until(&self, keys: &Store) -> Option<Duration> {
        (self.progress == Progress::Waiting).then(|| {
            let patience = keys.patience(&self.awaited, self.identity);
            self.since.saturating_add(patience)
        })
    }

    /// What was awaited has come, or will not come, or it is too late for it. Resumes the request if that
    /// decides it.
    pub fn keys_changed(&mut self, host: &mut dyn Host, tools: &Tools<'_>, now: Duration) {
        let Some(until) = self.waits_until(tools.keys) else {
            return;
        };
        let flow = self.decide_again(host, tools, now, now >= until);
        if flow == Flow::Continue && host.resume().is_err() {
            self.fail(host);
        }
    }

    /// Decides without the keys that are awaited.
    pub fn stop_waiting(&mut self, host: &mut dyn Host, tools: &Tools<'_>) -> Flow {
        self.decide_again(host, tools, self.since, true)
    }

    fn decide_again(
        &mut self,
        host: &mut dyn Host,
        tools: &Tools<'_>,
        now: Duration,
        last: bool,
    ) -> Flow {
        let flow = self.decide(host, tools, now, |exchange, env| exchange.keys(env, last));
        if self.progress == Progress::Gathering {
            self.catch_up(host, flow)
        } else {
            flow
        }
    }

    /// Goes on with what has come of the body. Those bytes would go to the service with the headers,
    /// so the headers wait for them even where they may go first.
    fn catch_up(&mut self, host: &mut dyn Host, mut flow: Flow) -> Flow {
        let Held { body, trailers } = std::mem::take(&mut self.held);
        if let Some((size, ends)) = body {
            flow = self.request_body(host, size, ends);
        }
        if trailers {
            flow = self.request_trailers(host);
        }
        flow
    }

    /// More of the body is here: `size` bytes of it so far, `ends` when that was all.
    pub fn request_body(&mut self, host: &mut dyn Host, size: usize, ends: bool) -> Flow {
        if self.progress == Progress::Waiting {
            self.held.body = Some((size, ends));
            return Flow::Pause;
        }
        if self.progress != Progress::Gathering {
            return self.settled_flow();
        }
        if let Some(step) = self.exchange.body_so_far(size as u64) {
            return self.carry_out(host, step);
        }
        if ends {
            self.whole_body(host, size)
        } else {
            Flow::Pause
        }
    }

    /// Trailers end the body too: with them no body event says so.
    pub fn request_trailers(&mut self, host: &mut dyn Host) -> Flow {
        if self.progress == Progress::Waiting {
            self.held.trailers = true;
            return Flow::Pause;
        }
        if self.progress != Progress::Gathering {
            return self.settled_flow();
        }
        let limit = self.exchange.body_limit().unwrap_or(0);
        // One byte more than the limit, so that a body that grew unseen is still found too large.
        let size = usize::try_from(limit.saturating_add(1)).unwrap_or(usize::MAX);
        self.whole_body(host, size)
    }

    fn whole_body(&mut self, host: &mut dyn Host, size: usize) -> Flow {
        let body = if size > 0 && self.exchange.reads_body() {
            host.request_body(size)
        } else {
            Ok(Vec::new())
        };
        match body {
            Ok(body) => {
                let step = self.exchange.body(&body);
                self.carry_out(host, step)
            }
            Err(HostError) => self.fail(host),
        }
    }

    /// The answer's headers are here; `ends` when nothing follows.
    pub fn response_headers(&mut self, host: &mut dyn Host, ends: bool) -> Flow {
        if !self.exchange.is_forwarded() {
            return Flow::Continue;
        }
        if self.exchange.wants_cache_status() {
            let from_cache = host.answered_from_cache();
            self.exchange.answered_from_cache(from_cache);
        }
        // A hint that could not be set may be the one that keeps an answer private.
        match self.decide_answer(host, ends) {
            Ok(step) => self.carry_answer(host, step),
            Err(HostError) => self.fail(host),
        }
    }

    fn decide_answer(&mut self, host: &mut dyn Host, ends: bool) -> Result<AnswerStep, HostError> {
        if self.exchange.minds_only_cookies() && !host.has_response_header("set-cookie")? {
            return Ok(AnswerStep::Forward(Vec::new()));
        }
        let head = ResponseHead {
            headers: host.response_headers()?,
        };
        let now = match self.exchange.answer_needs_time(&head) {
            true => host.now()?,
            false => Duration::ZERO,
        };
        Ok(self.exchange.response(head, ends, UnixTime::from(now)))
    }

    /// More of the answer is here: `size` bytes of it so far, `ends` when that was all.
    pub fn response_body(&mut self, host: &mut dyn Host, size: usize, ends: bool) -> Flow {
        let Some(limit) = self.exchange.answer_limit() else {
            return Flow::Continue;
        };
        let too_large = size as u64 > limit;
        if !ends && !too_large {
            return Flow::Pause;
        }
        self.whole_answer(host, (!too_large).then_some(size))
    }

    /// Trailers end the answer too.
    pub fn response_trailers(&mut self, host: &mut dyn Host) -> Flow {
        match self.exchange.answer_limit() {
            None => Flow::Continue,
            Some(limit) => self.whole_answer(host, usize::try_from(limit).ok()),
        }
    }

    fn whole_answer(&mut self, host: &mut dyn Host, size: Option<usize>) -> Flow {
        // An answer that cannot be read goes on without a tag: nothing that its head promised
        // depends on one.
        let body = size.and_then(|size| host.response_body(size).ok());
        let step = self.exchange.response_body(body.as_deref());
        self.carry_answer(host, step)
    }

    fn carry_answer(&mut self, host: &mut dyn Host, step: AnswerStep) -> Flow {
        let (edits, flow) = match step {
            AnswerStep::Forward(edits) => (edits, Flow::Continue),
            AnswerStep::AwaitBody(edits) => (edits, Flow::Pause),
            AnswerStep::NotModified(fields) => {
                return match host.not_modified(&fields) {
                    Ok(()) => Flow::Pause,
                    Err(HostError) => self.fail(host),
                };
            }
        };
        match apply(&edits, |edits| host.edit_response(edits)) {
            Ok(()) => flow,
            Err(HostError) => self.fail(host),
        }
    }

    fn carry_out(&mut self, host: &mut dyn Host, step: Step) -> Flow {
        match step {
            Step::Forward(edits) => {
                if self.edit_request(host, &edits).is_err() {
                    return self.fail(host);
                }
                self.progress = Progress::Settled;
                // The instance before a cache has counted the request already.
                if self.exchange.role() != Role::Response {
                    host.tally().forwarded();
                }
                self.report_monitored(host);
                Flow::Continue
            }
            Step::AwaitBody {
                edits,
                headers_first,
            } => {
                if self.edit_request(host, &edits).is_err() {
                    return self.fail(host);
                }
                self.progress = Progress::Gathering;
                if headers_first {
                    Flow::Continue
                } else {
                    Flow::Pause
                }
            }
            Step::AwaitKeys(issuers) => {
                self.progress = Progress::Waiting;
                self.awaited = issuers;
                Flow::Pause
            }
            Step::AwaitIdentity(identity) => {
                self.progress = Progress::Waiting;
                self.identity = Some(identity);
                Flow::Pause
            }
            Step::Reply(reply) => self.send(host, &reply),
        }
    }

    /// Edits the request and, where Envoy's routes go by what is written there, has it choose anew:
    /// otherwise the request could go where the client's own headers had sent it.
    fn edit_request(&self, host: &mut dyn Host, edits: &[Edit]) -> Result<(), HostError> {
        apply(edits, |edits| host.edit_request(edits))?;
        let names = |edit: &Edit| matches!(edit, Edit::Set(name, _) if name == SERVICE);
        match edits.iter().any(names) || !edits.is_empty() && self.exchange.changes_route() {
            true => host.clear_route_cache(),
            false => Ok(()),
        }
    }

    fn fail(&mut self, host: &mut dyn Host) -> Flow {
        match self.exchange.refuse(&internal()) {
            Step::Reply(reply) => self.send(host, &reply),
            _ => Flow::Pause,
        }
    }

    fn send(&mut self, host: &mut dyn Host, reply: &Reply) -> Flow {
        self.progress = Progress::Settled;
        host.count(Counter::Refused(reply.code), 1);
        host.publish("forecourt_decision", reply.code.as_str());
        self.report_monitored(host);
        let route = self.exchange.route().map_or("-", |route| &route.name);
        log::info!(
            "refused {} {} on route {route}",
            reply.status,
            reply.code.as_str()
        );
        // Where even the reply fails the stream stays paused: it ends by Envoy's timeout, unanswered
        // but closed.
        let _ = host.reply(reply);
        Flow::Pause
    }

    /// Publishes who called and what else of them, where the policy wants it known.
    fn tell_who(&self, host: &mut dyn Host) {
        if self.progress == Progress::Waiting {
            return;
        }
        if let Some(granted) = self.exchange.granted()
            && let Some(logged) = &granted.logged
        {
            host.publish("forecourt_issuer", &granted.issuer);
            if let Some(subject) = &granted.subject {
                host.publish("forecourt_subject", subject);
            }
            for (name, value) in logged {
                host.publish(name, value);
            }
        }
    }

    fn report_monitored(&mut self, host: &mut dyn Host) {
        for code in self.exchange.monitored() {
            host.count(Counter::Monitored(*code), 1);
            host.publish("forecourt_monitored", code.as_str());
            let route = self.exchange.route().map_or("-", |route| &route.name);
            log::info!(
                "monitor: would refuse {} {} on route {route}",
                code.status(),
                code.as_str()
            );
        }
    }

    fn settled_flow(&self) -> Flow {
        if self.exchange.is_forwarded() {
            Flow::Continue
        } else {
            Flow::Pause
        }
    }
}

/// No edits, no call.
fn apply(
    edits: &[Edit],
    call: impl FnOnce(&[Edit]) -> Result<(), HostError>,
) -> Result<(), HostError> {
    if edits.is_empty() {
        Ok(())
    } else {
        call(edits)
    }
}

#[cfg(test)]
mod tests;
