//! The Wasm edge: the only file that names `proxy_wasm`.
//!
//! Calls that carry what a client sent go to the host by their own bindings here: the SDK's panic on
//! header names that are not UTF-8 and on any status they did not expect, and a panic ends the VM.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel, MapType, MetricType};

use crate::config;
use crate::driver::{Flow, Stream, Tools};
use crate::head::{Edit, Headers};
use crate::host::{Counter, Host, HostError};
use crate::policy::Policy;
use crate::reply::Reply;
use crate::token::algorithm::Algorithm;
use crate::token::host_crypto::{self, HostCrypto};
use crate::token::{Cache, InlineOnly};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

/// Rust's standard library imports `sched_yield` from WASI for spin loops that a single-threaded VM
/// never enters; hosts before Envoy 1.33 lack it. Defining it here removes the import.
#[unsafe(no_mangle)]
extern "C" fn sched_yield() -> i32 {
    0
}

/// One VM's state: the policy, and the counters it has defined.
#[derive(Default)]
struct Root {
    policy: Rc<Policy>,
    counters: Counters,
    crypto: Rc<HostCrypto<Foreign>>,
    tokens: Rc<Cache>,
}

/// How many verified tokens each VM remembers.
const REMEMBERED_TOKENS: usize = 1000;

/// Envoy's `verify_signature`.
#[derive(Default)]
struct Foreign;

impl host_crypto::Call for Foreign {
    fn call(&self, arguments: &[u8]) -> Option<Vec<u8>> {
        bindings::call_foreign_function(host_crypto::FUNCTION, arguments).ok()
    }
}

type Counters = Rc<RefCell<HashMap<Counter, u32>>>;

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let text = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size);
        let text = text.ok().flatten().unwrap_or_default();
        match config::from_json(&text) {
            Ok(policy) => {
                self.policy = Rc::new(policy);
                self.tokens = Rc::new(Cache::new(REMEMBERED_TOKENS));
                self.crypto = Rc::new(HostCrypto::prove(Foreign));
                log::info!(
                    "signatures that the host checks: {}",
                    names(self.crypto.proven())
                );
                true
            }
            Err(problems) => {
                for problem in &problems.0 {
                    log::error!("policy refused: {problem}");
                }
                false
            }
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Filter {
            stream: Stream::new(Rc::clone(&self.policy)),
            envoy: Envoy {
                counters: Rc::clone(&self.counters),
            },
            crypto: Rc::clone(&self.crypto),
            tokens: Rc::clone(&self.tokens),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// One HTTP stream.
struct Filter {
    stream: Stream,
    envoy: Envoy,
    crypto: Rc<HostCrypto<Foreign>>,
    tokens: Rc<Cache>,
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        #[cfg(feature = "test-trap")]
        trap_on_purpose();
        action(self.stream.request_headers(
            &mut self.envoy,
            &Tools {
                keys: &InlineOnly,
                crypto: &*self.crypto,
                cache: &self.tokens,
            },
            end_of_stream,
        ))
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        action(
            self.stream
                .request_body(&mut self.envoy, size, end_of_stream),
        )
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        action(self.stream.request_trailers(&mut self.envoy))
    }

    fn on_http_response_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        action(self.stream.response_headers(&mut self.envoy, end_of_stream))
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        action(
            self.stream
                .response_body(&mut self.envoy, size, end_of_stream),
        )
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        action(self.stream.response_trailers(&mut self.envoy))
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

/// Kills the VM, so that a test can see traffic refused while it is gone and served once it is back.
#[cfg(feature = "test-trap")]
fn trap_on_purpose() {
    if hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, "x-forecourt-test-trap")
        .is_ok_and(|value| value.is_some())
    {
        std::process::abort();
    }
}

/// The stream in hand, as Envoy offers it.
struct Envoy {
    counters: Counters,
}

impl Host for Envoy {
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
        hostcalls::get_buffer(BufferType::HttpRequestBody, 0, size)
            .map(Option::unwrap_or_default)
            .map_err(|_| HostError)
    }

    fn response_headers(&mut self) -> Result<Headers, HostError> {
        headers(MapType::HttpResponseHeaders)
    }

    fn edit_response(&mut self, edits: &[Edit]) -> Result<(), HostError> {
        edit(MapType::HttpResponseHeaders, edits)
    }

    fn response_body(&mut self, size: usize) -> Result<Vec<u8>, HostError> {
        hostcalls::get_buffer(BufferType::HttpResponseBody, 0, size)
            .map(Option::unwrap_or_default)
            .map_err(|_| HostError)
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

    fn clear_route_cache(&mut self) {
        let _ = bindings::call_foreign_function("clear_route_cache", &[]);
    }

    fn count(&mut self, counter: Counter) {
        let mut counters = self.counters.borrow_mut();
        let id = match counters.get(&counter) {
            Some(id) => *id,
            None => match hostcalls::define_metric(MetricType::Counter, &counter.name()) {
                Ok(id) => *counters.entry(counter).or_insert(id),
                Err(_) => return,
            },
        };
        // A counter that cannot be counted is no reason to refuse a request.
        let _ = hostcalls::increment_metric(id, 1);
    }
}

fn headers(map: MapType) -> Result<Headers, HostError> {
    let bytes = bindings::header_map(map)?;
    Headers::from_wire(&bytes).ok_or(HostError)
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

/// Host functions of the proxy-wasm ABI 0.2.1, called without the SDK's panics.
mod bindings {
    use super::{HostError, MapType};
    use crate::head::to_wire;

    const OK: u32 = 0;

    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
        fn proxy_replace_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        fn proxy_add_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
        fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
        fn proxy_call_foreign_function(
            name: *const u8,
            name_size: usize,
            arguments: *const u8,
            arguments_size: usize,
            results: *mut *mut u8,
            results_size: *mut usize,
        ) -> u32;
        fn proxy_set_property(
            path: *const u8,
            path_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
    }

    fn ok(status: u32) -> Result<(), HostError> {
        if status == OK { Ok(()) } else { Err(HostError) }
    }

    /// A map in its wire form; empty where there is none.
    pub fn header_map(map: MapType) -> Result<Vec<u8>, HostError> {
        let mut data: *mut u8 = std::ptr::null_mut();
        let mut size = 0usize;
        // SAFETY: the host writes a pointer and a size, or neither.
        ok(unsafe { proxy_get_header_map_pairs(map as u32, &mut data, &mut size) })?;
        Ok(given(data, size))
    }

    /// Takes over what the host allocated; nothing where it allocated nothing.
    fn given(data: *mut u8, size: usize) -> Vec<u8> {
        if data.is_null() {
            return Vec::new();
        }
        // SAFETY: the host allocated exactly `size` bytes with the module's own allocator, filled
        // them and gave them away.
        unsafe { Vec::from_raw_parts(data, size, size) }
    }

    pub fn call_foreign_function(name: &str, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
        let mut data: *mut u8 = std::ptr::null_mut();
        let mut size = 0usize;
        // SAFETY: the host reads the two slices during the call and writes a pointer and a size, or
        // neither.
        ok(unsafe {
            proxy_call_foreign_function(
                name.as_ptr(),
                name.len(),
                arguments.as_ptr(),
                arguments.len(),
                &mut data,
                &mut size,
            )
        })?;
        Ok(given(data, size))
    }

    pub fn replace_header(map: MapType, name: &str, value: &[u8]) -> Result<(), HostError> {
        // SAFETY: the host only reads the two slices, during the call.
        ok(unsafe {
            proxy_replace_header_map_value(
                map as u32,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        })
    }

    pub fn add_header(map: MapType, name: &str, value: &[u8]) -> Result<(), HostError> {
        // SAFETY: as above.
        ok(unsafe {
            proxy_add_header_map_value(
                map as u32,
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        })
    }

    pub fn remove_header(map: MapType, name: &str) -> Result<(), HostError> {
        // SAFETY: as above.
        ok(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
    }

    /// An answer in the service's place.
    pub struct LocalResponse<'a> {
        pub status: u32,
        pub details: &'a str,
        pub headers: &'a [(&'a [u8], &'a [u8])],
        pub body: &'a [u8],
        /// -1 where the client does not speak gRPC.
        pub grpc_status: i32,
    }

    pub fn send_local_response(response: &LocalResponse<'_>) -> Result<(), HostError> {
        let headers = to_wire(response.headers);
        // SAFETY: as above.
        ok(unsafe {
            proxy_send_local_response(
                response.status,
                response.details.as_ptr(),
                response.details.len(),
                response.body.as_ptr(),
                response.body.len(),
                headers.as_ptr(),
                headers.len(),
                response.grpc_status,
            )
        })
    }

    pub fn set_property(name: &str, value: &[u8]) {
        // SAFETY: as above. Best effort: it only feeds access logs.
        let _ =
            unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    }
}
