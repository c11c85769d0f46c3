//! Numbers by their mathematical value: whole numbers of 64 bits are exact, all others are the
//! decimal that their shortest text writes.

use std::cmp::Ordering;
use std::fmt::{self, Write};

use serde_json::Number;

/// The first power of two that no whole number of 64 bits reaches.
const BEYOND: f64 = 18_446_744_073_709_551_616.0;

/// Compares two numbers of any kind exactly: `1` is `1.0`, and `9007199254740993` is more than the
/// double next to it.
pub fn compare(one: &Number, other: &Number) -> Ordering {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(one), None) => whole_with_float(one, float(other)),
        (None, Some(other)) => whole_with_float(other, float(one)).reverse(),
        (None, None) => order(float(one), float(other)),
    }
}

/// Whether the number has no fractional part.
pub fn is_whole(number: &Number) -> bool {
    !number.is_f64() || float(number).fract() == 0.0
}

fn whole(number: &Number) -> Option<i128> {
    let positive = number.as_u64().map(i128::from);
    positive.or_else(|| number.as_i64().map(i128::from))
}

fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or_default()
}

/// JSON has no NaN, so doubles are in order; the two zeros are one.
fn order(one: f64, other: f64) -> Ordering {
    one.partial_cmp(&other).unwrap_or(Ordering::Equal)
}

fn whole_with_float(whole: i128, float: f64) -> Ordering {
    if float >= BEYOND {
        Ordering::Less
    } else if float <= -BEYOND {
        Ordering::Greater
    } else {
        let cut = float.trunc() as i128;
        whole.cmp(&cut).then(order(0.0, float.fract()))
    }
}

/// The distance of a number from zero, as a decimal: `digits` × 10 to the power of `exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    digits: u64,
    exponent: i32,
}

impl Decimal {
    /// Reads the shortest text that stands for the number.
    pub fn of(number: &Number) -> Self {
        let mut decimal = Self {
            digits: number.as_i64().map_or(0, i64::unsigned_abs),
            exponent: 0,
        };
        if let Some(digits) = number.as_u64() {
            decimal.digits = digits;
        }
        if number.is_f64() {
            let mut text = Text::default();
            // A double's shortest text always fits.
            let _ = write!(text, "{number}");
            decimal.read(text.held());
        }
        decimal
    }

    fn read(&mut self, text: &[u8]) {
        let mut rest = text.iter();
        let mut fraction = false;
        for byte in rest.by_ref() {
            match byte {
                b'0'..=b'9' => {
                    let next = self.digits.checked_mul(10);
                    match next.and_then(|next| next.checked_add(u64::from(byte - b'0'))) {
                        Some(next) => self.digits = next,
                        // Only zeros follow the 17 digits of a double.
                        None => self.exponent += 1,
                    }
                    self.exponent -= i32::from(fraction);
                }
                b'.' => fraction = true,
                b'e' | b'E' => break,
                _ => {}
            }
        }
        let exponent = std::str::from_utf8(rest.as_slice()).unwrap_or_default();
        self.exponent += exponent
            .trim_start_matches('+')
            .parse::<i32>()
            .unwrap_or_default();
    }

    /// Whether it is a whole number of times `unit`.
    pub fn is_multiple_of(self, unit: Self) -> bool {
        if self.digits == 0 || unit.digits == 0 {
            return self.digits == 0;
        }
        match u32::try_from(self.exponent - unit.exponent) {
            Ok(shift) => {
                let unit = u128::from(unit.digits);
                (u128::from(self.digits) % unit * power(10, shift, unit)).is_multiple_of(unit)
            }
            Err(_) => 10_u128
                .checked_pow(unit.exponent.abs_diff(self.exponent))
                .and_then(|scale| scale.checked_mul(u128::from(unit.digits)))
                .is_some_and(|unit| u128::from(self.digits).is_multiple_of(unit)),
        }
    }
}

/// `base` to the power of `exponent`, modulo a number below 2^64.
fn power(base: u128, mut exponent: u32, modulo: u128) -> u128 {
    let mut base = base % modulo;
    let mut result = 1 % modulo;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * base % modulo;
        }
        base = base * base % modulo;
        exponent >>= 1;
    }
    result
}

/// Room for a double's text, so that checks need no allocation.
#[derive(Default)]
struct Text {
    bytes: [u8; 32],
    length: usize,
}

impl Text {
    fn held(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn number(value: &Value) -> &Number {
        match value {
            Value::Number(number) => number,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn numbers_of_different_kinds_are_compared_exactly() {
        for (one, other, expected) in [
            (json!(1), json!(1.0), Ordering::Equal),
            (json!(0), json!(-0.0), Ordering::Equal),
            (json!(-1), json!(-0.5), Ordering::Less),
            (json!(0), json!(0.5), Ordering::Less),
            (json!(0), json!(-0.5), Ordering::Greater),
            (
                json!(9007199254740993_i64),
                json!(9007199254740992.0),
                Ordering::Greater,
            ),
            (
                json!(u64::MAX),
                json!(18446744073709551616.0),
                Ordering::Less,
            ),
            (json!(u64::MAX), json!(i64::MIN), Ordering::Greater),
            (
                json!(i64::MIN),
                json!(-9223372036854775808.0),
                Ordering::Equal,
            ),
            (json!(i64::MIN), json!(-1e300), Ordering::Greater),
            (json!(1e300), json!(1e299), Ordering::Greater),
        ] {
            assert_eq!(
                compare(number(&one), number(&other)),
                expected,
                "{one} {other}"
            );
            assert_eq!(compare(number(&other), number(&one)), expected.reverse());
        }
        assert!(is_whole(number(&json!(1e20))) && !is_whole(number(&json!(1.5))));
    }

    #[test]
    fn multiples_are_those_of_the_written_decimals() {
        for (value, unit, expected) in [
            (json!(19.99), json!(0.01), true),
            (json!(19.995), json!(0.01), false),
            (json!(0.3), json!(0.1), true),
            (json!(-7), json!(3.5), true),
            (json!(0), json!(5), true),
            (json!(0.0), json!(0.1), true),
            (json!(1e308), json!(0.123456789), false),
            (json!(12391239123_i64), json!(1e-8), true),
            (json!(1e-8), json!(1), false),
            (json!(1e300), json!(1e-300), true),
            (json!(1e-300), json!(1e300), false),
            (json!(9007199254740993_i64), json!(2), false),
            (json!(u64::MAX), json!(5), true),
            (json!(u64::MAX), json!(7), false),
            (json!(i64::MIN), json!(2), true),
            (json!(4.35), json!(0.05), true),
            (json!(1.7976931348623157e308), json!(5e-324), true),
        ] {
            let held = Decimal::of(number(&value)).is_multiple_of(Decimal::of(number(&unit)));
            assert_eq!(held, expected, "{value} {unit}");
        }
    }
}
