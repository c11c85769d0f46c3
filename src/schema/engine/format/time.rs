//! Dates, times and durations (RFC 3339).

/// `full-date`.
pub fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    match (
        year.and_then(|year| number(year, 4)),
        month.and_then(|month| number(month, 2)),
        day.and_then(|day| number(day, 2)),
        parts.next(),
    ) {
        (Some(year), Some(month), Some(day), None) => day >= 1 && day <= days(year, month),
        _ => false,
    }
}

/// `date-time`.
pub fn is_date_time(text: &str) -> bool {
    let parts = text.split_once(['T', 't']);
    parts.is_some_and(|(date, time)| is_date(date) && is_time(time))
}

/// `full-time`.
pub fn is_time(text: &str) -> bool {
    let Some(at) = text.find(['Z', 'z', '+', '-']) else {
        return false;
    };
    let (time, offset) = text.split_at(at);
    let (time, fraction) = match time.split_once('.') {
        Some((time, fraction)) => (time, Some(fraction)),
        None => (time, None),
    };
    let mut parts = time.split(':').map(|part| number(part, 2));
    let (hour, minute, second) = (parts.next(), parts.next(), parts.next());
    let (Some(Some(hour)), Some(Some(minute)), Some(Some(second)), None) =
        (hour, minute, second, parts.next())
    else {
        return false;
    };
    let Some(offset) = offset_minutes(offset) else {
        return false;
    };
    // A leap second is the last one of a day in UTC.
    let utc = (hour * 60 + minute + 24 * 60 - offset) % (24 * 60);
    hour <= 23
        && minute <= 59
        && (second <= 59 || second == 60 && utc == 23 * 60 + 59)
        && fraction.is_none_or(is_digits)
}

/// Minutes by which the offset is ahead of UTC, within one day.
fn offset_minutes(text: &str) -> Option<i32> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = text.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    let within = hours <= 23 && minutes <= 59;
    let minutes = hours * 60 + minutes;
    within.then_some(if sign == "-" { -minutes } else { minutes })
}

/// `duration` of appendix A: units in order, none left out between two, weeks alone.
pub fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else {
        return false;
    };
    let (date, time) = match rest.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (rest, None),
    };
    match time {
        None => {
            let fits = units(date, "W").or_else(|| units(date, "YMD"));
            !date.is_empty() && fits.is_some()
        }
        Some(time) => {
            !time.is_empty() && units(time, "HMS").is_some() && units(date, "YMD").is_some()
        }
    }
}

/// Reads numbers with units that follow each other without a gap; any may be the first.
fn units(mut text: &str, units: &str) -> Option<()> {
    let mut expected = units;
    while !text.is_empty() {
        let end = text.find(|char: char| !char.is_ascii_digit())?;
        let (digits, rest) = text.split_at(end);
        let unit = rest.chars().next()?;
        let at = expected.find(unit)?;
        let follows = at == 0 || expected.len() == units.len();
        if digits.is_empty() || !follows {
            return None;
        }
        expected = expected.get(at + 1..)?;
        text = rest.get(1..)?;
    }
    Some(())
}

fn days(year: i32, month: i32) -> i32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i32::from(leap),
        _ => 0,
    }
}

fn number(text: &str, digits: usize) -> Option<i32> {
    (text.len() == digits && is_digits(text))
        .then(|| text.parse().ok())
        .flatten()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
