//! The module that is shipped, as a host sees it before it runs any of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::BTreeSet;

use forecourt::cli::module::module;
use wasmparser::{Parser, Payload};

/// What Envoy 1.36 and each later one offers to modules of ABI 0.2.1, less what it only refuses.
const PROXY: &str = "log get_status set_property get_property send_local_response get_shared_data \
    set_shared_data register_shared_queue resolve_shared_queue dequeue_shared_queue \
    enqueue_shared_queue get_header_map_value add_header_map_value replace_header_map_value \
    remove_header_map_value get_header_map_pairs set_header_map_pairs get_header_map_size \
    get_buffer_status get_buffer_bytes set_buffer_bytes http_call grpc_call grpc_stream grpc_close \
    grpc_cancel grpc_send set_tick_period_milliseconds get_current_time_nanoseconds define_metric \
    increment_metric record_metric get_metric set_effective_context done call_foreign_function \
    continue_stream close_stream get_log_level";
/// The part of WASI that the standard library may come to need; there are no files and no sockets.
const WASI: &str = "environ_get environ_sizes_get clock_time_get random_get fd_write proc_exit";

const EXPORTS: &[&str] = &[
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_memory_allocate",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_response_trailers",
    "proxy_on_tick",
    "proxy_on_vm_start",
];

#[test]
fn it_asks_for_nothing_that_envoy_lacks_and_offers_nothing_that_it_does_not_need() {
    let path = module(None, &mut |note| eprintln!("{note}")).unwrap();
    let content = std::fs::read(&path).unwrap();
    let (mut imports, mut exports) = (BTreeSet::new(), BTreeSet::new());
    for payload in Parser::new(0).parse_all(&content) {
        match payload.unwrap() {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.unwrap();
                    imports.insert((import.module.to_owned(), import.name.to_owned()));
                }
            }
            Payload::ExportSection(section) => {
                exports.extend(
                    section
                        .into_iter()
                        .map(|export| export.unwrap().name.to_owned()),
                );
            }
            Payload::CustomSection(section) => panic!("a custom section: {}", section.name()),
            _ => (),
        }
    }
    assert_eq!(exports.iter().collect::<Vec<_>>(), EXPORTS);
    assert!(imports.len() > 20, "{imports:?}");
    for (space, name) in imports {
        let offered = match space.as_str() {
            "env" => name.strip_prefix("proxy_").map(|name| (PROXY, name)),
            "wasi_snapshot_preview1" => Some((WASI, name.as_str())),
            _ => None,
        };
        let offered =
            offered.is_some_and(|(all, name)| all.split_whitespace().any(|it| it == name));
        assert!(offered, "{space}.{name}");
    }
}
