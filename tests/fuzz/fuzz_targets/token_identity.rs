#![no_main]

#[path = "../token.rs"]
#[allow(dead_code)]
mod token;

libfuzzer_sys::fuzz_target!(|data: &[u8]| token::identity(data));
