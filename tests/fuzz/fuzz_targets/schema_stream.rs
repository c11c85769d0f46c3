#![no_main]

#[path = "../schema.rs"]
#[allow(dead_code)]
mod schema;

libfuzzer_sys::fuzz_target!(|data: &[u8]| schema::stream(data));
