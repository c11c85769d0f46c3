//! Powers modulo an odd number, for public keys alone: nothing here is secret, so nothing takes care
//! to take the same time for every value.
//!
//! Limbs of 27 bits, the lowest first: their products leave 64 bits so much room that a thousand can be
//! added up before a carry is taken on, and no product has to wait for the one before it.

use std::cmp::Ordering;

/// Of a limb.
const BITS: usize = 27;
const MASK: u32 = (1 << BITS) - 1;
/// A column sums up at most two products for each limb, and what the column below carries over:
/// (2 × 500 + 1) × 2⁵⁴ is below 2⁶⁴.
const MOST_LIMBS: usize = 500;

/// An odd modulus, and what Montgomery's reduction needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modulus {
    limbs: Box<[u32]>,
    /// `-n⁻¹` modulo 2²⁷.
    negated_inverse: u32,
    /// R² modulo n, with R = 2^(27 × limbs).
    r_squared: Box<[u32]>,
}

impl Modulus {
    /// An odd number of big-endian octets, longer than one limb and of at most 13,500 bits; none where
    /// it is not.
    pub fn new(octets: &[u8]) -> Option<Self> {
        let mut limbs = to_limbs(octets);
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        let lowest = *limbs.first()?;
        if lowest & 1 == 0 || !(2..=MOST_LIMBS).contains(&limbs.len()) {
            return None;
        }
        let mut modulus = Self {
            negated_inverse: inverse(lowest).wrapping_neg() & MASK,
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
        self.limbs.len() * BITS + 32 - BITS - highest.leading_zeros() as usize
    }

    /// It, as big-endian octets without leading zeros.
    pub fn to_octets(&self) -> Vec<u8> {
        to_octets(&self.limbs, self.octets())
    }

    /// What remains when it is divided by a small number.
    pub fn remainder(&self, divisor: u32) -> u32 {
        let divisor = u64::from(divisor.max(1));
        let rest = self.limbs.iter().rev().fold(0, |rest, limb| {
            ((rest << BITS) | u64::from(*limb)) % divisor
        });
        low(rest)
    }

    /// `base^exponent`, for a base of as many octets as the modulus has and below it, and an exponent
    /// above 0.
    pub fn power(&self, base: &[u8], exponent: u64) -> Option<Vec<u8>> {
        let mut base = to_limbs(base);
        let above = base.iter().skip(self.limbs.len());
        if above.copied().any(|limb| limb != 0) {
            return None;
        }
        base.resize(self.limbs.len(), 0);
        if compare(&base, &self.limbs) != Ordering::Less {
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
    fn multiply(&self, to: &mut [u32], by: &[u32], room: &mut [u64]) {
        room.fill(0);
        let (pairs, last) = to.as_chunks::<2>();
        for (at, pair) in pairs.iter().enumerate() {
            if let Some(row) = room.get_mut(2 * at..) {
                add_products(row, by, *pair);
            }
        }
        if let ([limb], Some(row)) = (last, room.get_mut(2 * pairs.len()..)) {
            add_products(row, by, [*limb, 0]);
        }
        self.reduce(to, room);
    }

    /// `to = to² / R`: each product of two different limbs is made once, with one of them doubled.
    fn square(&self, to: &mut [u32], room: &mut [u64]) {
        room.fill(0);
        let (pairs, last) = to.as_chunks::<2>();
        for (at, [one, two]) in pairs.iter().enumerate() {
            if let (Some([first, second, third, ..]), Some(rest)) =
                (room.get_mut(4 * at..), to.get(2 * at + 2..))
            {
                *first += u64::from(*one) * u64::from(*one);
                *second += u64::from(2 * one) * u64::from(*two);
                *third += u64::from(*two) * u64::from(*two);
                if let Some(row) = room.get_mut(4 * at + 2..) {
                    add_products(row, rest, [2 * one, 2 * two]);
                }
            }
        }
        if let ([limb], Some(column)) = (last, room.get_mut(4 * pairs.len())) {
            *column += u64::from(*limb) * u64::from(*limb);
        }
        self.reduce(to, room);
    }

    /// `to = room / R`, below the modulus.
    fn reduce(&self, to: &mut [u32], room: &mut [u64]) {
        for at in (0..self.limbs.len()).step_by(2) {
            let Some(row) = room.get_mut(at..) else {
                return;
            };
            // The last limb of an odd number of them has no second one beside it.
            let alone = at + 1 == self.limbs.len();
            let [one, two] = self.cancelling(row);
            add_products(row, &self.limbs, [one, if alone { 0 } else { two }]);
            if let [lowest, next, above, ..] = row {
                *next += *lowest >> BITS;
                if !alone {
                    *above += *next >> BITS;
                }
            }
        }
        let mut carry = 0;
        for (limb, column) in to.iter_mut().zip(room.iter().skip(self.limbs.len())) {
            carry += column;
            *limb = low(carry) & MASK;
            carry >>= BITS;
        }
        if carry != 0 || compare(to, &self.limbs) != Ordering::Less {
            subtract(to, &self.limbs);
        }
    }

    /// The factors by which to add the modulus so that the lower bits of the two lowest columns become
    /// 0.
    fn cancelling(&self, row: &[u64]) -> [u32; 2] {
        let (Some([lowest, next]), Some([n, m])) =
            (row.first_chunk::<2>(), self.limbs.first_chunk::<2>())
        else {
            return [0, 0];
        };
        let factor = |column: u64| low(column).wrapping_mul(self.negated_inverse) & MASK;
        let one = factor(*lowest);
        let carry = (lowest + u64::from(*n) * u64::from(one)) >> BITS;
        [one, factor(next + u64::from(*m) * u64::from(one) + carry)]
    }

    /// R² modulo n: from the highest power of two below n, by doubling up to a power that Montgomery's
    /// multiplication can raise.
    fn square_of_r(&self) -> Box<[u32]> {
        let length = self.limbs.len();
        let mut value = vec![0_u32; length];
        let top = self.bits() - 1;
        if let Some(limb) = value.get_mut(top / BITS) {
            *limb = 1 << (top % BITS);
        }
        // R × 2^length modulo n.
        for _ in top..BITS * length + length {
            let over = double(&mut value);
            if over || compare(&value, &self.limbs) != Ordering::Less {
                subtract(&mut value, &self.limbs);
            }
        }
        // R × 2^(27 × length), which is R²: the power of 27, by its bits below the highest.
        let base = value.clone();
        let mut room = vec![0; 2 * length + 1];
        for bit in [1, 0, 1, 1] {
            self.square(&mut value, &mut room);
            if bit == 1 {
                self.multiply(&mut value, &base, &mut room);
            }
        }
        value.into()
    }
}

/// `row += number × factors`, the second a limb higher, column by column. Two factors at a time halve
/// the reading and writing, and four columns at a time the counting.
fn add_products(row: &mut [u64], number: &[u32], [one, two]: [u32; 2]) {
    let (one, two) = (u64::from(one), u64::from(two));
    let (Some((first, higher)), Some((last, lower)), Some((lowest, row))) = (
        number.split_first(),
        number.split_last(),
        row.split_first_mut(),
    ) else {
        return;
    };
    *lowest += u64::from(*first) * one;
    let (row, above) = row.split_at_mut(higher.len().min(row.len()));
    let (columns, row) = row.as_chunks_mut::<4>();
    let ((highs, higher), (lows, lower)) = (higher.as_chunks::<4>(), lower.as_chunks::<4>());
    for ((columns, highs), lows) in columns.iter_mut().zip(highs).zip(lows) {
        let ([a, b, c, d], [e, f, g, h], [i, j, k, l]) = (columns, highs, lows);
        *a += u64::from(*e) * one + u64::from(*i) * two;
        *b += u64::from(*f) * one + u64::from(*j) * two;
        *c += u64::from(*g) * one + u64::from(*k) * two;
        *d += u64::from(*h) * one + u64::from(*l) * two;
    }
    for ((column, high), under) in row.iter_mut().zip(higher).zip(lower) {
        *column += u64::from(*high) * one + u64::from(*under) * two;
    }
    if let Some(column) = above.first_mut() {
        *column += u64::from(*last) * two;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn low(value: u64) -> u32 {
    value as u32
}

fn double(number: &mut [u32]) -> bool {
    number.iter_mut().fold(0, |carry, limb| {
        let doubled = *limb << 1 | carry;
        *limb = doubled & MASK;
        doubled >> BITS
    }) != 0
}

fn subtract(from: &mut [u32], number: &[u32]) {
    let mut borrow = 0;
    for (limb, other) in from.iter_mut().zip(number) {
        let value = limb.wrapping_sub(*other).wrapping_sub(borrow);
        *limb = value & MASK;
        borrow = value >> 31;
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
    let mut limbs = Vec::with_capacity(octets.len() * 8 / BITS + 1);
    let (mut held, mut bits) = (0_u64, 0);
    for octet in octets.iter().rev() {
        held |= u64::from(*octet) << bits;
        bits += 8;
        if bits >= BITS {
            limbs.push(low(held) & MASK);
            held >>= BITS;
            bits -= BITS;
        }
    }
    if bits > 0 {
        limbs.push(low(held));
    }
    limbs
}

fn to_octets(limbs: &[u32], length: usize) -> Vec<u8> {
    let mut octets = Vec::with_capacity(length + 4);
    let (mut held, mut bits) = (0_u64, 0);
    for limb in limbs {
        held |= u64::from(*limb) << bits;
        bits += BITS;
        while bits >= 8 {
            octets.push(low(held).to_le_bytes()[0]);
            held >>= 8;
            bits -= 8;
        }
    }
    octets.push(low(held).to_le_bytes()[0]);
    octets.resize(length, 0);
    octets.reverse();
    octets
}
