#![no_main]

#[path = "../hints.rs"]
#[allow(dead_code)]
mod hints;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hints::own_key_of_a_path(data));
