//! One request and its response: data in, decisions out.
//!
//! head → route → token → body → upstream; response → hints. Nothing here calls the host; the
//! driver carries out what is decided, and `forecourt explain` prints the trace of it.

mod around_cache;
mod routing;
mod service;

use std::rc::Rc;

use crate::head::{Edit, Headers, RequestHead, ResponseHead};
use crate::hints;
use crate::policy::{BodyChecks, Mode, Policy, Role, Route};
use crate::reply::{Code, Refusal, Reply};
use crate::route::path;
use crate::schema::BodyPlan;
use crate::service::SERVERLESS_AUTHORIZATION;
use crate::time::UnixTime;
use crate::token::{Env, Granted, Outcome, keys_unavailable};
use crate::trace::Trace;

/// What the driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Apply the edits and let the message go on.
    Forward(Vec<Edit>),
    /// Apply the edits; keep the body until it is whole, then hand it to [`Exchange::body`]. The
    /// headers wait too, unless `headers_first`.
    AwaitBody {
        /// Changes to the request's headers.
        edits: Vec<Edit>,
        /// The headers go to the service before the body has been checked.
        headers_first: bool,
    },
    /// Keep the request; ask [`Exchange::keys`] once the keys of these issuers, by index, have come
    /// or will not come.
    AwaitKeys(Vec<usize>),
    /// Keep the request; ask [`Exchange::keys`] once the token of this proxy with that index has come
    /// or will not come.
    AwaitIdentity(usize),
    /// Answer in the service's place.
    Reply(Reply),
}

/// What the driver does next with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerStep {
    /// Apply the edits and let the answer go on.
    Forward(Vec<Edit>),
    /// Apply the edits and keep the answer, head and all, until it is whole; then hand it to
    /// [`Exchange::response_body`].
    AwaitBody(Vec<Edit>),
    /// Answer 304 with these fields in its place.
    NotModified(Vec<(String, Vec<u8>)>),
}

/// One request and its response.
#[derive(Debug)]
pub struct Exchange {
    policy: Rc<Policy>,
    head: RequestHead,
    route: Option<usize>,
    state: State,
    asked: hints::Asked,
    granted: Option<Granted>,
    /// Headers that claim an identity came from the client and were removed.
    scrubbed: bool,
    refused: Option<Code>,
    monitored: Vec<Code>,
    trace: Trace,
}

#[derive(Debug)]
enum State {
    /// Nothing was asked yet.
    Fresh,
    /// An issuer's keys are being fetched.
    Keys(Waiting),
    /// The head is in order, and a token of this proxy is being fetched.
    Identity(Admitted),
    /// The body is being gathered.
    Body(BodyPlan),
    /// The request went on; its response is next.
    Forwarded,
    /// The answer is being gathered.
    Answer {
        /// Its head, as it will go on.
        head: ResponseHead,
        /// The most bytes that are held.
        limit: u64,
    },
    /// We answered ourselves; nothing more is decided.
    Replied,
}

/// What is known of a request before its head was decided on.
#[derive(Debug, Default)]
struct Waiting {
    /// What is to change in its head whatever is decided.
    edits: Vec<Edit>,
    /// No body follows.
    ends: bool,
}

/// A request whose head is in order.
#[derive(Debug)]
struct Admitted {
    /// What is to change in its head.
    edits: Vec<Edit>,
    /// What its body still has to show.
    plan: BodyPlan,
}

/// Why a head was not let through, for now or for good.
enum Stop {
    Refused(Refusal),
    AwaitKeys(Vec<usize>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Exchange {
    /// Begins an exchange under a policy.
    pub fn new(policy: Rc<Policy>, trace: Trace) -> Self {
        Self {
            policy,
            head: RequestHead::default(),
            route: None,
            state: State::Fresh,
            asked: hints::Asked::default(),
            granted: None,
            scrubbed: false,
            refused: None,
            monitored: Vec::new(),
            trace,
        }
    }

    /// Whether deciding on a request takes the time: only what came with a token, or needs one of this
    /// proxy, can be too old.
    pub fn needs_time(&self, head: &RequestHead) -> bool {
        !self.policy.identities.is_empty() || self.policy.has_credentials(head)
    }

    /// Decides on a request's head; `ends` when no body follows.
    pub fn request(&mut self, mut head: RequestHead, ends: bool, env: &Env<'_>) -> Step {
        let policy = Rc::clone(&self.policy);
        if policy.role == Role::Response {
            return self.behind_cache(&policy, head, env);
        }
        let edits = self.scrub(&policy, &mut head);
        self.asked = hints::Asked {
            method: head.method().to_vec(),
            credentials: policy.has_credentials(&head),
            ..hints::Asked::default()
        };
        self.admit(head, Waiting { edits, ends }, env, false)
    }

    /// Decides again on a request that waits for keys or for a token of this proxy. `last`: it cannot
    /// wait any longer.
    pub fn keys(&mut self, env: &Env<'_>, last: bool) -> Step {
        match std::mem::replace(&mut self.state, State::Fresh) {
            State::Keys(waiting) => {
                let head = std::mem::take(&mut self.head);
                self.admit(head, waiting, env, last)
            }
            State::Identity(admitted) => self.go_on(admitted, env, last),
            _ => self.refuse(&internal()),
        }
    }

    fn admit(&mut self, head: RequestHead, waiting: Waiting, env: &Env<'_>, last: bool) -> Step {
        let policy = Rc::clone(&self.policy);
        let Waiting { mut edits, ends } = waiting;
        let decided = self.check_head(&policy, &head, ends, env, last, &mut edits);
        if policy.role == Role::Request && decided.is_ok() {
            self.tell_behind_cache(&policy, &head, &mut edits);
        }
        self.head = head;
        match decided {
            Ok(plan) => self.go_on(Admitted { edits, plan }, env, last),
            Err(Stop::AwaitKeys(issuers)) => {
                self.state = State::Keys(Waiting { edits, ends });
                Step::AwaitKeys(issuers)
            }
            Err(Stop::Refused(refusal)) => self.refuse(&refusal),
        }
    }

    /// Lets a request go on to its service, once the service can be shown who is calling.
    fn go_on(&mut self, mut admitted: Admitted, env: &Env<'_>, last: bool) -> Step {
        let policy = Rc::clone(&self.policy);
        if let Some(service) = self.service(&policy) {
            match self.address(&policy, service, &mut admitted.edits, env, last) {
                Ok(None) => {}
                Ok(Some(identity)) => {
                    self.state = State::Identity(admitted);
                    return Step::AwaitIdentity(identity);
                }
                Err(refusal) => return self.refuse(&refusal),
            }
        }
        let Admitted { edits, plan } = admitted;
        match plan {
            BodyPlan::NoBody => {
                self.state = State::Forwarded;
                Step::Forward(edits)
            }
            plan => {
                self.state = State::Body(plan);
                Step::AwaitBody {
                    edits,
                    headers_first: policy.body_checks == BodyChecks::Stream,
                }
            }
        }
    }

    /// Removes the headers that some route sets, however the client spelled them: frameworks that
    /// follow CGI read `x_user_id` as `x-user-id`.
    fn scrub(&mut self, policy: &Policy, head: &mut RequestHead) -> Vec<Edit> {
        let mut edits: Vec<Edit> = Vec::new();
        for (name, _) in head.headers.iter() {
            let same = |held: &String| {
                held.len() == name.len()
                    && held
                        .bytes()
                        .zip(name)
                        .all(|(a, b)| a == *b || a == b'-' && *b == b'_')
            };
            if policy.identity_headers.iter().any(same)
                && let Ok(name) = std::str::from_utf8(name)
            {
                let edit = Edit::Remove(name.to_owned());
                if !edits.contains(&edit) {
                    self.trace.note("head", || {
                        format!("`{name}` came from the client and is removed: this policy sets it")
                    });
                    edits.push(edit);
                }
            }
        }
        // An issuer may read its tokens from a field that no service gets to see.
        let read = |edit: &&Edit| {
            let serverless = Edit::Remove(SERVERLESS_AUTHORIZATION.to_owned());
            **edit != serverless || !policy.reads_header(SERVERLESS_AUTHORIZATION)
        };
        let removed: Vec<_> = edits.iter().filter(read).cloned().collect();
        head.headers.apply(&removed);
        self.scrubbed = !edits.is_empty();
        edits
    }

    /// Everything that the head decides; the plan says what the body still has to show.
    fn check_head(
        &mut self,
        policy: &Policy,
        head: &RequestHead,
        ends: bool,
        env: &Env<'_>,
        last: bool,
        edits: &mut Vec<Edit>,
    ) -> Result<BodyPlan, Stop> {
        let method = std::str::from_utf8(head.method()).unwrap_or_default();
        if method.is_empty() || head.target().is_empty() {
            let detail = "The request has no single method and path.";
            return Err(Refusal::new(Code::RequestMalformed, detail).into());
        }
        let path = path::parse(head.target())
            .map_err(|error| Refusal::new(Code::PathInvalid, error.detail()))?;
        let Some(taken) = self.find_route(policy, head, method, &path)? else {
            return Ok(BodyPlan::NoBody);
        };
        let route = policy.routes.get(taken.route).ok_or_else(internal)?;
        self.route = Some(taken.route);
        self.trace.note("route", || {
            let (name, index) = (&route.name, taken.route);
            format!("`{name}` (routes[{index}]) takes {method} {}", path.raw)
        });
        self.asked.parameters = decoded(&taken.params);
        self.check_access(policy, route, head, env, last, edits)?;
        self.asked.verified = self.granted.is_some();
        if route.hints.validation.is_some() {
            self.asked.conditions = hints::Conditions::read(head);
        }
        edits.extend(route.hints.request_edits(head));
        if let Some(rule) = &route.params {
            let checked = rule.check(&taken.params, path.query, &head.headers, &mut self.trace);
            self.weigh(checked, route, rule.monitor)?;
        }
        Ok(self.plan_body(route, head, ends)?)
    }

    fn check_access(
        &mut self,
        policy: &Policy,
        route: &Route,
        head: &RequestHead,
        env: &Env<'_>,
        last: bool,
        edits: &mut Vec<Edit>,
    ) -> Result<(), Stop> {
        let outcome = route
            .access
            .check(&policy.issuers, head, env, &mut self.trace);
        let refusal = match outcome {
            Outcome::Anonymous => return Ok(()),
            Outcome::Granted(mut granted) => {
                edits.append(&mut granted.edits);
                self.granted = Some(granted);
                return Ok(());
            }
            Outcome::Refused(refusal) => refusal,
            Outcome::AwaitKeys(issuers) if !last => return Err(Stop::AwaitKeys(issuers)),
            Outcome::AwaitKeys(issuers) => keys_unavailable(env, &issuers),
        };
        self.weigh::<()>(Err(refusal), route, false)?;
        Ok(())
    }

    fn plan_body(
        &mut self,
        route: &Route,
        head: &RequestHead,
        ends: bool,
    ) -> Result<BodyPlan, Refusal> {
        let Some(rule) = &route.body else {
            return Ok(BodyPlan::NoBody);
        };
        let planned = rule.check_head(head, ends, &mut self.trace);
        let plan = self.weigh(planned, route, rule.monitor)?;
        Ok(match plan.unwrap_or(BodyPlan::NoBody) {
            // Envoy holds a body to its declared length, and the length was found small enough.
            BodyPlan::SizeOnly if head.headers.has("content-length") => BodyPlan::NoBody,
            plan => plan,
        })
    }

    /// How many bytes of body may be gathered; `None` when no body is awaited.
    pub fn body_limit(&self) -> Option<u64> {
        match &self.state {
            State::Body(_) => self.route()?.body.as_ref().map(|rule| rule.max_bytes()),
            _ => None,
        }
    }

    /// Whether the body's bytes are looked at, and not only counted.
    pub fn reads_body(&self) -> bool {
        matches!(&self.state, State::Body(BodyPlan::Check { .. }))
    }

    /// Decides on a body that is still growing: a reply once it is too large.
    pub fn body_so_far(&mut self, bytes: u64) -> Option<Step> {
        let limit = self.body_limit()?;
        if bytes <= limit {
            return None;
        }
        let refusal = Refusal::new(
            Code::BodyTooLarge,
            format!("The body is larger than {limit} bytes."),
        );
        Some(self.settle_body(Err(refusal)))
    }

    /// Decides on the whole body; one that is only counted need not be handed over.
    pub fn body(&mut self, body: &[u8]) -> Step {
        if let Some(step) = self.body_so_far(body.len() as u64) {
            return step;
        }
        let policy = Rc::clone(&self.policy);
        let rule = self
            .route
            .and_then(|index| policy.routes.get(index))
            .and_then(|route| route.body.as_ref());
        let (State::Body(plan), Some(rule)) = (&self.state, rule) else {
            return self.refuse(&internal());
        };
        let checked = rule.check(plan, body, &mut self.trace);
        self.settle_body(checked)
    }

    fn settle_body(&mut self, checked: Result<(), Refusal>) -> Step {
        let policy = Rc::clone(&self.policy);
        let route = self.route.and_then(|index| policy.routes.get(index));
        let Some((route, rule)) = route.and_then(|route| Some((route, route.body.as_ref()?)))
        else {
            return self.refuse(&internal());
        };
        match self.weigh(checked, route, rule.monitor) {
            Ok(_) => {
                self.state = State::Forwarded;
                Step::Forward(Vec::new())
            }
            Err(refusal) => self.refuse(&refusal),
        }
    }

    /// In monitor mode, of the route or of a part, a refusal is noted and the request goes on.
    fn weigh<T>(
        &mut self,
        checked: Result<T, Refusal>,
        route: &Route,
        monitor: bool,
    ) -> Result<Option<T>, Refusal> {
        let refusal = match checked {
            Ok(value) => return Ok(Some(value)),
            Err(refusal) if route.mode == Mode::Enforce && !monitor => return Err(refusal),
            Err(refusal) => refusal,
        };
        self.monitored.push(refusal.code);
        self.trace.note("mode", || {
            let code = refusal.code.as_str();
            format!("monitor: would have refused with `{code}`, lets it pass")
        });
        Ok(None)
    }

    /// Ends the exchange with a refusal; also the driver's answer to a host that failed.
    pub fn refuse(&mut self, refusal: &Refusal) -> Step {
        self.state = State::Replied;
        self.refused = Some(refusal.code);
        self.trace.note("reply", || {
            format!(
                "{} `{}`: {}",
                refusal.code.status(),
                refusal.code.as_str(),
                refusal.detail
            )
        });
        Step::Reply(refusal.reply(&self.head))
    }

    /// Whether the hints say in `Cache-Status` who answered, and so need to know.
    pub fn wants_cache_status(&self) -> bool {
        self.is_forwarded() && self.hints_rule(&self.policy).cache_status.is_some()
    }

    /// Tells whether a cache between here and the service answered.
    pub fn answered_from_cache(&mut self, from_cache: bool) {
        self.asked.from_cache = Some(from_cache);
    }

    /// Whether only a cookie that the answer sets can make [`Exchange::response`] change it: no rule of
    /// the route applies, and of the safety rules that one alone.
    pub fn minds_only_cookies(&self) -> bool {
        self.policy.role == Role::Whole
            && !self.asked.has_credentials()
            && *self.hints_rule(&self.policy) == self.policy.unrouted
    }

    /// Whether [`Exchange::response`] takes the time for that answer.
    pub fn answer_needs_time(&self, head: &ResponseHead) -> bool {
        self.hints_rule(&self.policy).needs_time(head)
    }

    /// Decides on the head of the service's answer. Our own replies are left as they are.
    pub fn response(&mut self, mut head: ResponseHead, ends: bool, now: UnixTime) -> AnswerStep {
        if !self.is_forwarded() {
            return AnswerStep::Forward(Vec::new());
        }
        let policy = Rc::clone(&self.policy);
        let rule = self.hints_rule(&policy);
        let edits = rule.decide(&self.asked, &head, now, &mut self.trace);
        if rule.validation.is_none() {
            return AnswerStep::Forward(edits);
        }
        head.headers.apply(&edits);
        // Where headers cannot be held back for a body, an answer's cannot either.
        let held = if ends || policy.body_checks == BodyChecks::Stream {
            None
        } else {
            rule.wants_body(&self.asked, &head)
        };
        match held {
            Some(limit) => {
                self.trace.note("hints", || {
                    format!("the answer waits for its entity tag, up to {limit} bytes")
                });
                self.state = State::Answer { head, limit };
                AnswerStep::AwaitBody(edits)
            }
            None => match self.not_modified(rule, &head) {
                Some(step) => step,
                None => AnswerStep::Forward(edits),
            },
        }
    }

    /// How many bytes of an answer may be gathered; `None` when none is awaited.
    pub fn answer_limit(&self) -> Option<u64> {
        match &self.state {
            State::Answer { limit, .. } => Some(*limit),
            _ => None,
        }
    }

    /// Decides on the whole answer; `None` when it turned out too large to be held.
    pub fn response_body(&mut self, body: Option<&[u8]>) -> AnswerStep {
        let State::Answer { mut head, .. } = std::mem::replace(&mut self.state, State::Forwarded)
        else {
            return AnswerStep::Forward(Vec::new());
        };
        let policy = Rc::clone(&self.policy);
        let Some(body) = body else {
            return AnswerStep::Forward(Vec::new());
        };
        let rule = self.hints_rule(&policy);
        let edits: Vec<Edit> = rule.etag(&head, body).into_iter().collect();
        head.headers.apply(&edits);
        self.not_modified(rule, &head)
            .unwrap_or(AnswerStep::Forward(edits))
    }

    fn not_modified(&mut self, rule: &hints::Rule, head: &ResponseHead) -> Option<AnswerStep> {
        let fields = rule.not_modified(&self.asked, head)?;
        self.state = State::Replied;
        self.trace
            .note("hints", || "304: the client has the answer already".into());
        Some(AnswerStep::NotModified(fields))
    }

    fn hints_rule<'a>(&self, policy: &'a Policy) -> &'a hints::Rule {
        let route = self.route.and_then(|index| policy.routes.get(index));
        route.map_or(&policy.unrouted, |route| &route.hints)
    }

    /// Whether the request went to the service.
    pub fn is_forwarded(&self) -> bool {
        matches!(self.state, State::Forwarded | State::Answer { .. })
    }

    /// The reason of the refusal that was carried out.
    pub fn refused(&self) -> Option<Code> {
        self.refused
    }

    /// The reasons of refusals that monitor mode let pass.
    pub fn monitored(&self) -> &[Code] {
        &self.monitored
    }

    /// Which part of the work is done here.
    pub fn role(&self) -> Role {
        self.policy.role
    }

    /// The route taken.
    pub fn route(&self) -> Option<&Route> {
        self.policy.routes.get(self.route?)
    }

    /// Who was verified.
    pub fn granted(&self) -> Option<&Granted> {
        self.granted.as_ref()
    }

    /// Whether the proxy has to choose its route again: it goes by what was written of the caller, or
    /// may have gone by what the client wrote in its place.
    pub fn changes_route(&self) -> bool {
        let written = |granted: &Granted| granted.clear_route_cache;
        self.granted.as_ref().is_some_and(written) || self.scrubbed && self.policy.routes_by_claims
    }

    /// The request's headers as they came, less those that were removed.
    pub fn headers(&self) -> &Headers {
        &self.head.headers
    }

    /// What was recorded.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}

/// The refusal of a request whose checks could not be carried out.
pub fn internal() -> Refusal {
    Refusal::new(Code::Internal, "The request could not be checked.")
}

/// Path parameters as the service reads them.
fn decoded(params: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    let decoded = |(name, value): &(&str, &str)| {
        let value = percent_encoding::percent_decode_str(value);
        ((*name).to_owned(), value.collect())
    };
    params.iter().map(decoded).collect()
}
