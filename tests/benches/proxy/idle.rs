//! A Wasm filter that reads nothing and lets everything pass: what is left is what it costs Envoy to
//! enter a VM at each step of a request. No module that does something can cost less.

/// The functions that Envoy calls of this module, with their signatures, from 0 the index in
/// [`SIGNATURES`], and their bodies.
const FUNCTIONS: [(&str, u8, &[u8]); 6] = [
    ("proxy_abi_version_0_2_1", 0, &[END]),
    ("malloc", 1, &[I32_CONST, 0, END]),
    ("proxy_on_context_create", 2, &[END]),
    ("proxy_on_request_headers", 3, &[I32_CONST, CONTINUE, END]),
    ("proxy_on_response_headers", 3, &[I32_CONST, CONTINUE, END]),
    ("proxy_on_delete", 4, &[END]),
];

/// `() -> ()`, `(i32) -> i32`, `(i32, i32) -> ()`, `(i32, i32, i32) -> i32`, `(i32) -> ()`.
const SIGNATURES: [&[u8]; 5] = [
    &[FUNCTION, 0, 0],
    &[FUNCTION, 1, I32, 1, I32],
    &[FUNCTION, 2, I32, I32, 0],
    &[FUNCTION, 3, I32, I32, I32, 1, I32],
    &[FUNCTION, 1, I32, 0],
];

const FUNCTION: u8 = 0x60;
const I32: u8 = 0x7f;
const I32_CONST: u8 = 0x41;
const END: u8 = 0x0b;
/// The ABI's action.
const CONTINUE: u8 = 0;

/// The module in Wasm's binary format.
pub fn module() -> Vec<u8> {
    let indexed = || (0_u8..).zip(FUNCTIONS);
    let types = SIGNATURES.map(<[u8]>::to_vec);
    let functions = FUNCTIONS.map(|(_, signature, _)| vec![signature]);
    let exports =
        indexed().map(|(index, (name, ..))| [&sized(name.as_bytes())[..], &[0, index]].concat());
    let memory = [&sized(b"memory")[..], &[2, 0]].concat();
    let bodies = FUNCTIONS.map(|(_, _, code)| sized(&[&[0], code].concat()));
    let exports: Vec<_> = exports.chain([memory]).collect();
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    for (section, items) in [
        (1, &types[..]),
        (3, &functions),
        // One page, no limit.
        (5, &[vec![0, 1]]),
        (7, &exports),
        (10, &bodies),
    ] {
        let count = [u8::try_from(items.len()).unwrap()];
        let content = [&count[..], &items.concat()].concat();
        module.push(section);
        // The exports alone are longer than 127 bytes: two digits of LEB128 hold them all.
        let size = u16::try_from(content.len()).unwrap();
        module.extend([0x80 | (size & 0x7f) as u8, (size >> 7) as u8]);
        module.extend(content);
    }
    module
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let size = u8::try_from(bytes.len()).unwrap();
    assert!(size < 128);
    [&[size], bytes].concat()
}
