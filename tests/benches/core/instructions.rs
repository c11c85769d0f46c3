//! Counts instructions: each part runs in callgrind twice, so many times and twice as often, and the
//! difference has nothing of what it takes to start.

use std::env;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

use crate::parts::{self, Part};

pub fn print() {
    let there = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if there.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        println!("instruction counts: skipped, valgrind is not installed");
        return;
    }
    println!("| part | instructions |\n|---|--:|");
    for part in parts::all() {
        let (once, twice) = (count(&part, part.times), count(&part, 2 * part.times));
        let each = twice.saturating_sub(once) / u64::from(part.times);
        println!("| {} | {} |", part.name, grouped(each));
    }
}

fn count(part: &Part, times: u32) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().unwrap())
        .args(["--run", &part.name, &times.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", part.name);
    let (_, collected) = said.split_once("Collected : ").expect("a count");
    let digits = collected.split_whitespace().next();
    digits
        .and_then(|digits| digits.parse().ok())
        .expect("a number")
}

/// With a comma before every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
