//! The Wasm edge: the only file that names `proxy_wasm`.
//!
//! Calls that carry what a client sent go to the host by their own bindings here: the SDK's panic on
//! header names that are not UTF-8 and on any status they did not expect, and a panic ends the VM.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel, MapType, MetricType};

use crate::config;
use crate::driver::{Flow, Stream, Tools};
use crate::fetch::Store;
use crate::fetch::answer::Answer;
use crate::head::{Edit, Headers, ResponseHead};
use crate::host::{Counter, Host, HostError, KeyHost, Request, Tally};
use crate::policy::Policy;
use crate::reply::Reply;
use crate::token::Cache;
use crate::token::algorithm::Algorithm;
use crate::token::host_crypto::{self, HostCrypto};
use crate::token::keyset::MAX_SET_BYTES;

mod bindings;
#[cfg(feature = "test-hooks")]
mod hooks;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|id| Box::new(Root { id, vm: Rc::default() }));
}}

/// Rust's standard library imports `sched_yield` from WASI for spin loops that a single-threaded VM
/// never enters; hosts before Envoy 1.33 lack it. Defining it here removes the import.
#[unsafe(no_mangle)]
extern "C" fn sched_yield() -> i32 {
    0
}

/// Most requests of one VM that wait at a time for what is fetched; more are refused at once.
const MAX_WAITING: usize = 1024;

/// The plugin in one VM, which has a tick and makes calls of its own.
struct Root {
    id: u32,
    vm: Rc<Vm>,
}

/// What the plugin and its streams share.
#[derive(Default)]
struct Vm {
    policy: Rc<Policy>,
    counters: Rc<Counters>,
    crypto: HostCrypto<Foreign>,
    keys: RefCell<Store>,
    tokens: Cache,
    waiting: RefCell<Vec<Waiting>>,
    /// The time between two ticks; zero for none.
    rhythm: Cell<Duration>,
    /// Whether ticks go on for what is counted.
    counting: Cell<bool>,
}

/// The counters of this VM, whatever its policy.
#[derive(Default)]
struct Counters {
    /// By what the host knows them.
    ids: RefCell<HashMap<Counter, u32>>,
    tally: Tally,
}

impl Counters {
    /// Tells the host what was gathered; whether there was anything.
    fn tell(&self) -> bool {
        let any = !self.tally.is_empty();
        self.tally.tell(&mut Envoy { counters: self });
        any
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        self.tell();
    }
}

/// A stream that waits for keys, as long as it is there.
struct Waiting {
    context: u32,
    stream: Weak<RefCell<Stream>>,
}

/// Envoy's `verify_signature`.
#[derive(Default)]
struct Foreign;

impl host_crypto::Call for Foreign {
    fn call(&self, arguments: &[u8]) -> Option<Vec<u8>> {
        bindings::call_foreign_function(host_crypto::FUNCTION, arguments).ok()
    }
}

impl Context for Root {
    /// The answer to a call of [`KeyHost::call`].
    fn on_http_call_response(&mut self, call: u32, _: usize, size: usize, _: usize) {
        let answer = Answer {
            head: ResponseHead {
                headers: headers(MapType::HttpCallResponseHeaders).unwrap_or_default(),
            },
            body: bindings::buffer(
                BufferType::HttpCallResponseBody,
                size.min(MAX_SET_BYTES + 1),
            )
            .unwrap_or_default(),
        };
        self.turn(|keys, host, now| keys.answered(host, now, call, &answer));
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let text = bindings::buffer(BufferType::PluginConfiguration, size).unwrap_or_default();
        match config::from_json(&text) {
            Ok(policy) => self.take(policy),
            Err(problems) => {
                for problem in &problems.0 {
                    log::error!("policy refused: {problem}");
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        self.vm.counting.set(self.vm.counters.tell());
        self.turn(Store::tick);
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let stream = Stream::new(Rc::clone(&self.vm.policy));
        Some(Box::new(Filter {
            id,
            stream: Rc::new(RefCell::new(stream)),
            vm: Rc::clone(&self.vm),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Root {
    /// Works under that policy from now on. Streams that began under another one end under it.
    fn take(&mut self, policy: Policy) -> bool {
        let mut keys = Store::new(&policy.issuers, &policy.identities);
        let fetches = !keys.is_empty();
        let vm = Vm {
            crypto: HostCrypto::prove(Foreign),
            policy: Rc::new(policy),
            counters: Rc::clone(&self.vm.counters),
            ..Vm::default()
        };
        log::info!(
            "signatures that the host checks: {}",
            names(vm.crypto.proven())
        );
        if fetches && keys.prepare(&mut vm.envoy()).is_err() {
            log::error!("this proxy has no shared data, without which nothing can be fetched");
            return false;
        }
        vm.keys.replace(keys);
        if fetches && vm.tick_every(AT_ONCE).is_err() {
            log::error!("this proxy has no timer, without which nothing can be fetched");
            return false;
        }
        self.vm = Rc::new(vm);
        true
    }

    /// Lets the keys move on, and after them the requests that wait for them.
    fn turn(&self, step: impl FnOnce(&mut Store, &mut dyn KeyHost, Duration) -> bool) {
        let mut envoy = self.vm.envoy();
        // Without a clock nothing can be said about keys; requests are refused for it on their own.
        let Ok(now) = Host::now(&mut envoy) else {
            return;
        };
        let changed = match self.vm.keys.try_borrow_mut() {
            Ok(mut keys) => step(&mut keys, &mut envoy, now),
            Err(_) => return,
        };
        self.wake(&mut envoy, now, changed);
        let _ = self.vm.tick_every(self.vm.next_tick());
    }

    /// Decides again on the requests that wait, if anything changed or their time is over.
    fn wake(&self, envoy: &mut Envoy<'_>, now: Duration, changed: bool) {
        let keys = self.vm.keys.borrow();
        let waiting = self.vm.waiting.take();
        let mut still = Vec::new();
        for waits in waiting {
            let Some(stream) = waits.stream.upgrade() else {
                continue;
            };
            let Ok(mut stream) = stream.try_borrow_mut() else {
                still.push(waits);
                continue;
            };
            let Some(until) = stream.waits_until(&keys) else {
                continue;
            };
            if (changed || now >= until) && bindings::set_effective_context(waits.context).is_ok() {
                stream.keys_changed(envoy, &self.vm.tools(&keys), now);
            }
            if stream.waits_until(&keys).is_some() {
                still.push(waits);
            }
        }
        let _ = bindings::set_effective_context(self.id);
        self.vm.waiting.replace(still);
    }
}

/// Soon enough for whoever waits.
const AT_ONCE: Duration = Duration::from_millis(1);
/// Soon enough for whoever reads counters.
const COUNTING: Duration = Duration::from_secs(1);

impl Vm {
    fn envoy(&self) -> Envoy<'_> {
        Envoy {
            counters: &self.counters,
        }
    }

    fn tools<'a>(&'a self, keys: &'a Store) -> Tools<'a> {
        Tools {
            keys,
            crypto: &self.crypto,
            cache: &self.tokens,
        }
    }

    fn tick_every(&self, period: Duration) -> Result<(), HostError> {
        if self.rhythm.get() == period {
            return Ok(());
        }
        bindings::set_tick_period(period)?;
        self.rhythm.set(period);
        Ok(())
    }

    /// How long until the next tick, by what is fetched and by what is counted; zero for never.
    fn next_tick(&self) -> Duration {
        let requests_wait = !self.waiting.borrow().is_empty();
        let keys = self.keys.borrow();
        let fetching = (!keys.is_empty()).then(|| keys.rhythm(requests_wait));
        let counts = self.counting.get() || !self.counters.tally.is_empty();
        let periods = fetching.into_iter().chain(counts.then_some(COUNTING));
        periods.min().unwrap_or(Duration::ZERO)
    }

    /// Sees to it that a tick comes that tells what was gathered.
    fn mind_counters(&self) {
        if self.counting.get() || self.counters.tally.is_empty() {
            return;
        }
        if self.rhythm.get().is_zero() && self.tick_every(COUNTING).is_err() {
            self.counters.tell();
            return;
        }
        self.counting.set(true);
    }
}

/// One HTTP stream.
struct Filter {
    id: u32,
    stream: Rc<RefCell<Stream>>,
    vm: Rc<Vm>,
}

impl Filter {
    fn on(&self, event: impl FnOnce(&mut Stream, &mut Envoy<'_>) -> Flow) -> Action {
        let action = match self.stream.try_borrow_mut() {
            Ok(mut stream) => action(event(&mut stream, &mut self.vm.envoy())),
            Err(_) => Action::Pause,
        };
        self.vm.mind_counters();
        action
    }

    /// Puts the stream among those that wait for keys, if there is room, and sees to it that they
    /// are fetched. Calls are made on the tick, not here: a call belongs to whoever makes it, and
    /// this stream may end.
    fn wait(&self) -> bool {
        let mut waiting = self.vm.waiting.borrow_mut();
        if waiting.len() >= MAX_WAITING {
            return false;
        }
        waiting.push(Waiting {
            context: self.id,
            stream: Rc::downgrade(&self.stream),
        });
        if waiting.len() == 1 {
            let _ = self.vm.tick_every(AT_ONCE);
        }
        true
    }
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        #[cfg(feature = "test-hooks")]
        if let Some(action) = hooks::request_headers() {
            return action;
        }
        let Ok(keys) = self.vm.keys.try_borrow() else {
            return Action::Pause;
        };
        let tools = self.vm.tools(&keys);
        let action = self.on(|stream, envoy| stream.request_headers(envoy, &tools, end_of_stream));
        if self.stream.borrow().waits_until(&keys).is_some() && !self.wait() {
            return self.on(|stream, envoy| stream.stop_waiting(envoy, &tools));
        }
        action
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        #[cfg(feature = "test-hooks")]
        if let Some(action) = hooks::request_body(size, end_of_stream) {
            return action;
        }
        self.on(|stream, envoy| stream.request_body(envoy, size, end_of_stream))
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        self.on(|stream, envoy| stream.request_trailers(envoy))
    }

    fn on_http_response_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        self.on(|stream, envoy| stream.response_headers(envoy, end_of_stream))
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.on(|stream, envoy| stream.response_body(envoy, size, end_of_stream))
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        self.on(|stream, envoy| stream.response_trailers(envoy))
    }
}

fn names(algorithms: &[Algorithm]) -> String {
    let names: Vec<_> = algorithms.iter().map(|alg| alg.as_str()).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn action(flow: Flow) -> Action {
    match flow {
        Flow::Continue => Action::Continue,
        Flow::Pause => Action::Pause,
    }
}

/// The stream in hand, as Envoy offers it.
struct Envoy<'a> {
    counters: &'a Counters,
}

impl Host for Envoy<'_> {
    fn now(&mut self) -> Result<Duration, HostError> {
        let now = hostcalls::get_current_time().map_err(|_| HostError)?;
        now.duration_since(std::time::UNIX_EPOCH)
            .map_err(|_| HostError)
    }

    fn request_headers(&mut self) -> Result<Headers, HostError> {
        headers(MapType::HttpRequestHeaders)
    }

    fn edit_request(&mut self, edits: &[Edit]) -> Result<(), HostError> {
        edit(MapType::HttpRequestHeaders, edits)
    }

    fn request_body(&mut self, size: usize) -> Result<Vec<u8>, HostError> {
        bindings::buffer(BufferType::HttpRequestBody, size)
    }

    fn response_headers(&mut self) -> Result<Headers, HostError> {
        headers(MapType::HttpResponseHeaders)
    }

    fn has_response_header(&mut self, name: &str) -> Result<bool, HostError> {
        bindings::has_header(MapType::HttpResponseHeaders, name)
    }

    fn edit_response(&mut self, edits: &[Edit]) -> Result<(), HostError> {
        edit(MapType::HttpResponseHeaders, edits)
    }

    fn response_body(&mut self, size: usize) -> Result<Vec<u8>, HostError> {
        bindings::buffer(BufferType::HttpResponseBody, size)
    }

    fn answered_from_cache(&mut self) -> bool {
        let details = hostcalls::get_property(vec!["response", "code_details"]);
        details.ok().flatten().as_deref() == Some(b"cache.response_from_cache_filter")
    }

    fn not_modified(&mut self, fields: &[(String, Vec<u8>)]) -> Result<(), HostError> {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_slice()))
            .collect();
        bindings::send_local_response(&bindings::LocalResponse {
            status: 304,
            details: "forecourt_not_modified",
            headers: &fields,
            body: &[],
            grpc_status: -1,
        })
    }

    fn resume(&mut self) -> Result<(), HostError> {
        bindings::continue_request()
    }

    fn reply(&mut self, reply: &Reply) -> Result<(), HostError> {
        let fields: Vec<_> = reply
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        let (status, grpc_status, body) = match &reply.grpc {
            Some((grpc_status, message)) => (200, *grpc_status, message.as_bytes()),
            None => (u32::from(reply.status), -1, reply.body.as_slice()),
        };
        // The reason code goes along as response code details, for `%RESPONSE_CODE_DETAILS%`.
        bindings::send_local_response(&bindings::LocalResponse {
            status,
            details: &format!("forecourt_{}", reply.code.as_str()),
            headers: &fields,
            body,
            grpc_status,
        })
    }

    fn publish(&mut self, name: &str, value: &str) {
        bindings::set_property(name, value.as_bytes());
    }

    fn clear_route_cache(&mut self) -> Result<(), HostError> {
        bindings::call_foreign_function("clear_route_cache", &[]).map(|_| ())
    }

    fn tally(&self) -> &Tally {
        &self.counters.tally
    }

    fn count(&mut self, counter: Counter, times: u32) {
        let mut ids = self.counters.ids.borrow_mut();
        let id = match ids.get(&counter) {
            Some(id) => *id,
            None => match hostcalls::define_metric(MetricType::Counter, &counter.name()) {
                Ok(id) => *ids.entry(counter).or_insert(id),
                Err(_) => return,
            },
        };
        // A counter that cannot be counted is no reason to refuse a request.
        let _ = hostcalls::increment_metric(id, i64::from(times));
    }
}

impl KeyHost for Envoy<'_> {
    fn shared(&mut self, name: &str) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        bindings::shared_data(name)
    }

    fn set_shared(
        &mut self,
        name: &str,
        value: &[u8],
        swap: Option<u32>,
    ) -> Result<bool, HostError> {
        bindings::set_shared_data(name, value, swap)
    }

    fn call(&mut self, request: &Request<'_>) -> Result<u32, HostError> {
        let mut headers = vec![
            (":method", "GET"),
            (":scheme", request.scheme),
            (":authority", request.authority),
            (":path", request.target),
            ("accept", request.accept),
            ("user-agent", "forecourt"),
        ];
        if request.metadata_flavor {
            headers.push(("metadata-flavor", "Google"));
        }
        headers.extend(request.if_none_match.map(|tag| ("if-none-match", tag)));
        // The SDK has to know of the call, or it panics on the answer; every status that Envoy gives
        // here is one that it expects.
        let timeout = request.timeout;
        hostcalls::dispatch_http_call(request.cluster, headers, None, Vec::new(), timeout)
            .map_err(|_| HostError)
    }

    fn chance(&mut self) -> u64 {
        Host::now(self).map_or(0, |now| u64::from(now.subsec_micros()))
    }

    fn count(&mut self, counter: Counter) {
        Host::count(self, counter, 1);
    }
}

fn headers(map: MapType) -> Result<Headers, HostError> {
    let bytes = bindings::header_map(map)?;
    Headers::from_wire(bytes).ok_or(HostError)
}

fn edit(map: MapType, edits: &[Edit]) -> Result<(), HostError> {
    for edit in edits {
        match edit {
            Edit::Set(name, value) => bindings::replace_header(map, name, value)?,
            Edit::Add(name, value) => bindings::add_header(map, name, value)?,
            Edit::Remove(name) => bindings::remove_header(map, name)?,
        }
    }
    Ok(())
}
