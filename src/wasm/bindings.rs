//! Host functions of the proxy-wasm ABI 0.2.1, called without the SDK's panics.

use std::time::Duration;

use super::{BufferType, HostError, MapType};
use crate::head::to_wire;

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const CAS_MISMATCH: u32 = 8;
const REQUEST_STREAM: u32 = 0;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
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
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        size: usize,
        data: *mut *mut u8,
        data_size: *mut usize,
    ) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
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

/// At most `size` bytes of a buffer, from its start.
pub fn buffer(buffer: BufferType, size: usize) -> Result<Vec<u8>, HostError> {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut given_size = 0usize;
    // SAFETY: the host writes a pointer and a size, or neither.
    match unsafe { proxy_get_buffer_bytes(buffer as u32, 0, size, &mut data, &mut given_size) } {
        OK => Ok(given(data, given_size)),
        NOT_FOUND => Ok(Vec::new()),
        _ => Err(HostError),
    }
}

pub fn continue_request() -> Result<(), HostError> {
    // SAFETY: takes no memory.
    ok(unsafe { proxy_continue_stream(REQUEST_STREAM) })
}

pub fn set_effective_context(context: u32) -> Result<(), HostError> {
    // SAFETY: takes no memory.
    ok(unsafe { proxy_set_effective_context(context) })
}

pub fn set_tick_period(period: Duration) -> Result<(), HostError> {
    let millis = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: takes no memory.
    ok(unsafe { proxy_set_tick_period_milliseconds(millis) })
}

pub fn shared_data(key: &str) -> Result<Option<(Vec<u8>, u32)>, HostError> {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut size = 0usize;
    let mut cas = 0u32;
    // SAFETY: the host reads the key during the call and writes a pointer, a size and a number,
    // or none of them.
    match unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), &mut data, &mut size, &mut cas) }
    {
        OK => Ok(Some((given(data, size), cas))),
        NOT_FOUND => Ok(None),
        _ => Err(HostError),
    }
}

/// Whether it was written: with `cas` only if the entry still has that number.
pub fn set_shared_data(key: &str, value: &[u8], cas: Option<u32>) -> Result<bool, HostError> {
    // SAFETY: the host only reads the two slices, during the call.
    match unsafe {
        proxy_set_shared_data(
            key.as_ptr(),
            key.len(),
            value.as_ptr(),
            value.len(),
            cas.unwrap_or(0),
        )
    } {
        OK => Ok(true),
        CAS_MISMATCH => Ok(false),
        _ => Err(HostError),
    }
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

/// Whether there is such a field, even empty.
pub fn has_header(map: MapType, name: &str) -> Result<bool, HostError> {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut size = 0usize;
    // SAFETY: the host reads the name during the call and writes a pointer and a size, or neither.
    let status = unsafe {
        proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), &mut data, &mut size)
    };
    drop(given(data, size));
    match status {
        OK => Ok(true),
        NOT_FOUND => Ok(false),
        _ => Err(HostError),
    }
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
    let _ = unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}
