//! How a decision came about, for `forecourt explain`: the exchange records it itself, so what is
//! shown cannot disagree with what the filter does.

use serde::Serialize;

/// One step of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The part that took it: `path`, `route`, `token`, `access`, `body`, `hints`, …
    pub part: &'static str,
    /// What it found, for a person to read. Holds no token, and no value of a claim or body unless
    /// asked for.
    pub note: String,
}

/// A recording of steps. Off in the filter, where a note is not even formatted.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    steps: Option<Vec<Step>>,
    show_values: bool,
}

impl Trace {
    /// Records nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// Records every step; claim values only with `show_values`.
    pub fn on(show_values: bool) -> Self {
        Self {
            steps: Some(Vec::new()),
            show_values,
        }
    }

    /// Whether notes may hold values out of the token.
    pub fn shows_values(&self) -> bool {
        self.show_values
    }

    /// Records a step; `note` runs only when recording.
    pub fn note(&mut self, part: &'static str, note: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.steps {
            steps.push(Step { part, note: note() });
        }
    }

    /// What was recorded.
    pub fn steps(&self) -> &[Step] {
        self.steps.as_deref().unwrap_or_default()
    }
}
