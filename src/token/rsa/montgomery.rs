//! Powers modulo an odd number, for public keys alone: nothing here is secret, so nothing takes care
//! to take the same time for every value.
//!
//! Limbs of 32 bits, the lowest first: two of them multiply to 64 bits in one instruction of Wasm.

use std::cmp::Ordering;

/// An odd modulus, and what Montgomery's reduction needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modulus {
    limbs: Box<[u32]>,
    /// `-n⁻¹` modulo 2³².
    negated_inverse: u32,
    /// R² modulo n, with R = 2^(32 × limbs).
    r_squared: Box<[u32]>,
}

impl Modulus {
    /// An odd number of big-endian octets, longer than one limb; none where it is not.
    pub fn new(octets: &[u8]) -> Option<Self> {
        let mut limbs = to_limbs(octets);
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        let lowest = *limbs.first()?;
        if lowest & 1 == 0 || limbs.len() < 2 {
            return None;
        }
        let mut modulus = Self {
            negated_inverse: inverse(lowest).wrapping_neg(),
            r_squared: Box::default(),
            limbs: limbs.into(),
        };
        modulus.r_squared = modulus.square_of_r();
        Some(modulus)
    }

    /// How many octets a number below it takes.
    pub fn octets(&self) -> usize {
        self.bits().div_ceil(8)
    }

    /// How many bits it has.
    pub fn bits(&self) -> usize {
        let highest = self.limbs.last().copied().unwrap_or_default();
        self.limbs.len() * 32 - highest.leading_zeros() as usize
    }

    /// It, as big-endian octets without leading zeros.
    pub fn to_octets(&self) -> Vec<u8> {
        to_octets(&self.limbs, self.octets())
    }

    /// What remains when it is divided by a small number.
    pub fn remainder(&self, divisor: u32) -> u32 {
        let divisor = u64::from(divisor.max(1));
        let rest = self
            .limbs
            .iter()
            .rev()
            .fold(0, |rest, limb| ((rest << 32) | u64::from(*limb)) % divisor);
        low(rest)
    }

    /// `base^exponent`, for a base of as many octets as the modulus has and below it, and an exponent
    /// above 0.
    pub fn power(&self, base: &[u8], exponent: u64) -> Option<Vec<u8>> {
        let mut base = to_limbs(base);
        base.resize(self.limbs.len(), 0);
        if base.len() != self.limbs.len() || compare(&base, &self.limbs) != Ordering::Less {
            return None;
        }
        let mut room = vec![0; 2 * self.limbs.len() + 1];
        let mut factor = base.clone();
        self.multiply(&mut factor, &self.r_squared, &mut room);
        let mut power = factor.clone();
        let bits = u64::BITS.checked_sub(exponent.leading_zeros() + 1)?;
        for bit in (0..bits).rev() {
            self.square(&mut power, &mut room);
            if exponent >> bit & 1 == 1 {
                // The last factor takes the power out of Montgomery's form on the way.
                let factor = if bit == 0 { &base } else { &factor };
                self.multiply(&mut power, factor, &mut room);
            }
        }
        if exponent & 1 == 0 || bits == 0 {
            let one: Vec<_> = std::iter::once(1)
                .chain(std::iter::repeat_n(0, self.limbs.len() - 1))
                .collect();
            self.multiply(&mut power, &one, &mut room);
        }
        Some(to_octets(&power, self.octets()))
    }

    /// `to = to × by / R`.
    fn multiply(&self, to: &mut [u32], by: &[u32], room: &mut [u32]) {
        room.fill(0);
        for (at, limb) in to.iter().enumerate() {
            if let Some(row) = room.get_mut(at..) {
                add_product(row, by, *limb);
            }
        }
        self.reduce(to, room);
    }

    /// `to = to² / R`: each product of two different limbs is made once and doubled.
    fn square(&self, to: &mut [u32], room: &mut [u32]) {
        room.fill(0);
        for (at, limb) in to.iter().enumerate() {
            if let (Some(row), Some(rest)) = (room.get_mut(2 * at + 1..), to.get(at + 1..)) {
                add_product(row, rest, *limb);
            }
        }
        let mut carry = 0;
        let mut half = 0;
        let (pairs, _) = room.as_chunks_mut::<2>();
        for ([first, second], limb) in pairs.iter_mut().zip(&*to) {
            let whole = u64::from(*first) | u64::from(*second) << 32;
            let doubled = whole << 1 | half;
            half = whole >> 63;
            let (sum, over) = doubled.overflowing_add(u64::from(*limb) * u64::from(*limb));
            let (sum, again) = sum.overflowing_add(carry);
            carry = u64::from(over) + u64::from(again);
            (*first, *second) = (low(sum), low(sum >> 32));
        }
        self.reduce(to, room);
    }

    /// `to = room / R`, below the modulus.
    fn reduce(&self, to: &mut [u32], room: &mut [u32]) {
        for at in 0..self.limbs.len() {
            let Some(row) = room.get_mut(at..) else {
                return;
            };
            let factor = row
                .first()
                .map_or(0, |lowest| lowest.wrapping_mul(self.negated_inverse));
            add_product(row, &self.limbs, factor);
        }
        let Some((upper, [over])) = room
            .get(self.limbs.len()..)
            .and_then(|upper| upper.split_at_checked(self.limbs.len()))
        else {
            return;
        };
        to.copy_from_slice(upper);
        if *over != 0 || compare(to, &self.limbs) != Ordering::Less {
            subtract(to, &self.limbs);
        }
    }

    /// 2^(64 × limbs) modulo n: from the highest power of two below n, by doubling up to a power that
    /// Montgomery's multiplication can square.
    fn square_of_r(&self) -> Box<[u32]> {
        let length = self.limbs.len();
        let mut value = vec![0_u32; length];
        let top = self.bits() - 1;
        if let Some(limb) = value.get_mut(top / 32) {
            *limb = 1 << (top % 32);
        }
        // R × 2^length modulo n.
        for _ in top..32 * length + length {
            let over = double(&mut value);
            if over || compare(&value, &self.limbs) != Ordering::Less {
                subtract(&mut value, &self.limbs);
            }
        }
        // Five squarings lead from R × 2^length to R × 2^(32 × length), which is R².
        let mut room = vec![0; 2 * length + 1];
        for _ in 0..5 {
            self.square(&mut value, &mut room);
        }
        value.into()
    }
}

/// `row += number × factor`, the carry taken on into what follows.
fn add_product(row: &mut [u32], number: &[u32], factor: u32) {
    let factor = u64::from(factor);
    let mut carry = 0;
    let (low_part, high_part) = row.split_at_mut(number.len().min(row.len()));
    for (limb, other) in low_part.iter_mut().zip(number) {
        // Cannot overflow: (2³² - 1)² + 2 × (2³² - 1) = 2⁶⁴ - 1.
        carry += u64::from(*other) * factor + u64::from(*limb);
        *limb = low(carry);
        carry >>= 32;
    }
    for limb in high_part {
        if carry == 0 {
            return;
        }
        carry += u64::from(*limb);
        *limb = low(carry);
        carry >>= 32;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn low(value: u64) -> u32 {
    value as u32
}

fn double(number: &mut [u32]) -> bool {
    number.iter_mut().fold(0, |carry, limb| {
        let over = *limb >> 31;
        *limb = *limb << 1 | carry;
        over
    }) != 0
}

fn subtract(from: &mut [u32], number: &[u32]) {
    let mut borrow = false;
    for (limb, other) in from.iter_mut().zip(number) {
        let (value, under) = limb.overflowing_sub(*other);
        let (value, again) = value.overflowing_sub(u32::from(borrow));
        *limb = value;
        borrow = under || again;
    }
}

fn compare(one: &[u32], other: &[u32]) -> Ordering {
    one.iter().rev().cmp(other.iter().rev())
}

/// The inverse of an odd number modulo 2³², by Newton's method: each step doubles the right bits.
fn inverse(odd: u32) -> u32 {
    // Right in its lowest three bits already.
    (0..4).fold(odd, |found, _| {
        found.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(found)))
    })
}

fn to_limbs(octets: &[u8]) -> Vec<u32> {
    let limb = |chunk: &[u8]| {
        chunk
            .iter()
            .fold(0, |limb, octet| limb << 8 | u32::from(*octet))
    };
    octets.rchunks(4).map(limb).collect()
}

fn to_octets(limbs: &[u32], length: usize) -> Vec<u8> {
    let mut octets: Vec<_> = limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
    octets.resize(length, 0);
    octets.reverse();
    octets
}
