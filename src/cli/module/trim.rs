//! The module as it is shipped: what `cargo wasm` links, less what no host needs.
//!
//! The SDK exports every callback of its ABI, and Envoy calls each one that it finds, on every
//! request. All are optional, and without one Envoy does what the SDK's own default would tell it.
//! Written anew, the module is smaller too: the linker pads every index to five bytes.

use std::convert::Infallible;

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{ExportSection, Module};
use wasmparser::{CustomSectionReader, Export, Parser};

/// What the module offers: its memory, its start, its version of the ABI, and the callbacks that
/// `src/wasm.rs` implements.
pub const EXPORTS: &[&str] = &[
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_vm_start",
    "proxy_on_context_create",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_http_call_response",
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_response_body",
    "proxy_on_response_trailers",
    "proxy_on_delete",
];

/// Why something cannot be trimmed.
#[derive(Debug, thiserror::Error)]
pub enum TrimError {
    /// It cannot be read.
    #[error("what was built is not a WebAssembly module: {0}")]
    NotWasm(#[from] reencode::Error<Infallible>),
    /// A host could not drive it.
    #[error("what was built does not export `{0}`")]
    Missing(&'static str),
}

/// The module without custom sections and without exports that are not in [`EXPORTS`].
pub fn trim(built: &[u8]) -> Result<Vec<u8>, TrimError> {
    let mut trimmer = Trimmer::default();
    let mut module = Module::new();
    trimmer.parse_core_module(&mut module, Parser::new(0), built)?;
    match EXPORTS.iter().find(|name| !trimmer.kept.contains(name)) {
        Some(missing) => Err(TrimError::Missing(missing)),
        None => Ok(module.finish()),
    }
}

#[derive(Default)]
struct Trimmer {
    kept: Vec<&'static str>,
}

impl Reencode for Trimmer {
    type Error = Infallible;

    fn parse_export(
        &mut self,
        exports: &mut ExportSection,
        export: Export<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        match EXPORTS.iter().find(|name| **name == export.name) {
            Some(name) => self.kept.push(name),
            None => return Ok(()),
        }
        reencode::utils::parse_export(self, exports, export)
    }

    fn parse_custom_section(
        &mut self,
        _: &mut Module,
        _: CustomSectionReader<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        CodeSection, CustomSection, ExportKind, Function, FunctionSection, MemorySection,
        MemoryType, TypeSection,
    };
    use wasmparser::Payload;

    use super::*;

    /// A module with one function and one memory that exports those names, and a custom section.
    fn module(exports: &[&str]) -> Vec<u8> {
        let mut module = Module::new();
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut functions = FunctionSection::new();
        functions.function(0);
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut exported = ExportSection::new();
        for name in exports {
            let kind = match *name {
                "memory" => ExportKind::Memory,
                _ => ExportKind::Func,
            };
            exported.export(name, kind, 0);
        }
        let mut code = CodeSection::new();
        let mut function = Function::new([]);
        function.instructions().end();
        code.function(&function);
        module
            .section(&types)
            .section(&functions)
            .section(&memories);
        module.section(&exported).section(&code);
        module.section(&CustomSection {
            name: "name".into(),
            data: (&[0, 1, 0]).into(),
        });
        module.finish()
    }

    fn exports(module: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        for payload in Parser::new(0).parse_all(module) {
            if let Payload::ExportSection(exports) = payload.unwrap() {
                names.extend(
                    exports
                        .into_iter()
                        .map(|export| export.unwrap().name.to_owned()),
                );
            }
        }
        names
    }

    #[test]
    fn only_what_a_host_needs_is_left() {
        let built = module(&[EXPORTS, &["proxy_on_log", "proxy_on_grpc_close"]].concat());
        let trimmed = trim(&built).unwrap();
        assert_eq!(exports(&trimmed), EXPORTS);
        let custom = |payload| matches!(payload, Ok(Payload::CustomSection(_)));
        assert!(Parser::new(0).parse_all(&built).any(custom));
        assert!(!Parser::new(0).parse_all(&trimmed).any(custom));
        assert_eq!(trim(&trimmed).unwrap(), trimmed);
    }

    #[test]
    fn a_module_that_no_host_could_drive_is_refused() {
        for missing in EXPORTS {
            let others: Vec<_> = EXPORTS
                .iter()
                .filter(|name| *name != missing)
                .copied()
                .collect();
            let error = trim(&module(&others)).unwrap_err();
            assert!(matches!(error, TrimError::Missing(name) if name == *missing));
        }
        for broken in [&b""[..], b"\0asm", b"#!/bin/sh", &module(EXPORTS)[..40]] {
            assert!(
                matches!(trim(broken), Err(TrimError::NotWasm(_))),
                "{broken:?}"
            );
        }
    }

    /// The SDK's callbacks of that name: what a method of one of its traits is exported as.
    #[test]
    fn every_callback_that_is_implemented_is_kept() {
        let edge = include_str!("../../wasm.rs");
        let implemented: Vec<_> = edge
            .lines()
            .filter_map(|line| line.strip_prefix("    fn on_")?.split('(').next())
            .map(|name| match name.strip_prefix("http_") {
                Some("call_response") | None => format!("proxy_on_{name}"),
                Some(stream) => format!("proxy_on_{stream}"),
            })
            .collect();
        assert!(implemented.len() > 8, "{implemented:?}");
        for name in implemented {
            assert!(EXPORTS.contains(&name.as_str()), "{name}");
        }
    }
}
