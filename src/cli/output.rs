//! How commands speak: results on standard output, all else on standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

/// Why a command did not do what it was asked to; the text is for a person.
#[derive(Debug)]
pub enum Failure {
    /// It was asked properly, and the answer is no: exit code 1.
    No(String),
    /// It was asked wrongly: exit code 2.
    Usage(String),
    /// What was wrong has been said already; the exit code is left.
    Told(u8),
    /// Whoever reads the output has gone, as `head` does: nobody is left to tell.
    Unheard,
}

impl Failure {
    /// The answer is no.
    pub fn no(message: impl Display) -> Self {
        Self::No(message.to_string())
    }

    /// It was asked wrongly.
    pub fn usage(message: impl Display) -> Self {
        Self::Usage(message.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unheard,
            _ => Self::no(error),
        }
    }
}

/// The exit code for an outcome; what went wrong is said on the way.
pub fn exit(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::No(message)) => complain(&message, 1),
        Err(Failure::Usage(message)) => complain(&message, 2),
        Err(Failure::Told(code)) => ExitCode::from(code),
        Err(Failure::Unheard) => ExitCode::from(1),
    }
}

fn complain(message: &str, code: u8) -> ExitCode {
    note(&format!("forecourt: {message}"));
    ExitCode::from(code)
}

/// A result, on standard output.
pub fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// What is going on, on standard error.
pub fn note(text: &str) {
    // There is nowhere left to complain if this fails.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Colours for a terminal that wants them, none for anything else (<https://no-color.org>).
#[derive(Clone, Copy, Debug)]
pub struct Paint(bool);

impl Paint {
    /// What standard output can show.
    pub fn for_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self(wanted && !dumb && io::stdout().is_terminal())
    }

    /// No colours.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self(false)
    }

    /// Good news.
    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Bad news.
    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    /// Of interest.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Of less interest.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}
