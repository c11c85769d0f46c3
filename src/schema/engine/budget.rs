//! How much work one check may take. A schema may ask for work that grows exponentially with its
//! value; the budget grows with the value's size alone, and what exceeds it is refused.

use serde_json::Value;

/// Steps that every check may take.
const BASE: u64 = 100_000;

/// Further steps per part of the value.
const PER_PART: u64 = 5_000;

/// Most steps of any check.
const MOST: u64 = 50_000_000;

/// Bytes of text that count as one part.
const TEXT: usize = 64;

/// Further steps per part of a value that is checked while it is read. What takes more is no
/// everyday check, and starts anew with the value in hand.
const PER_PART_READ: u64 = 200;

/// Steps that are left.
#[derive(Debug)]
pub struct Budget<'v> {
    left: u64,
    /// Steps that came on top of the base.
    more: u64,
    /// The value whose size has not been counted in yet.
    value: Option<&'v Value>,
    spent: bool,
}

impl<'v> Budget<'v> {
    /// The budget for checking that value; it is measured only once the base is used up.
    pub fn for_value(value: &'v Value) -> Self {
        Self {
            value: Some(value),
            ..Self::for_reading()
        }
    }

    /// The budget for checking a value while it is read: never more than it would be for the value
    /// as a whole.
    pub fn for_reading() -> Self {
        Self {
            left: BASE,
            more: 0,
            value: None,
            spent: false,
        }
    }

    /// A fixed number of steps.
    #[cfg(test)]
    pub fn of(steps: u64) -> Self {
        Self {
            left: steps,
            ..Self::for_reading()
        }
    }

    /// Adds what further parts of the value being read allow.
    pub fn grow(&mut self, parts: usize) {
        let more = (parts as u64).saturating_mul(PER_PART_READ);
        let more = more.min(MOST - self.more);
        self.more += more;
        self.left += more;
    }

    /// Takes steps; `false` from when they are used up.
    pub fn spend(&mut self, steps: u64) -> bool {
        if let Some(left) = self.left.checked_sub(steps) {
            self.left = left;
            return true;
        }
        if let Some(value) = self.value.take() {
            let more = parts(value).saturating_mul(PER_PART).min(MOST);
            self.more = more;
            self.left = self.left.saturating_add(more);
            return self.spend(steps);
        }
        self.left = 0;
        self.spent = true;
        false
    }

    /// Whether the base is used up, so that this is no everyday check.
    pub fn is_long(&self) -> bool {
        self.left < self.more
    }

    /// Whether all steps are used up.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    /// Ends the work.
    pub fn give_up(&mut self) {
        self.left = 0;
        self.value = None;
        self.spent = true;
    }
}

/// The size of a value in parts: values, members and stretches of text.
pub fn parts(value: &Value) -> u64 {
    1 + match value {
        Value::String(text) => (text.len() / TEXT) as u64,
        Value::Array(elements) => elements.iter().map(parts).sum(),
        Value::Object(members) => {
            let members = members.iter();
            members
                .map(|(name, value)| (name.len() / TEXT) as u64 + parts(value))
                .sum()
        }
        _ => 0,
    }
}
