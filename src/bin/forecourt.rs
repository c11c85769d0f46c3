//! The command line's entry; everything is in [`forecourt::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    forecourt::cli::run()
}
