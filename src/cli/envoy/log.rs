//! What an Envoy says: its log and its access log, kept in memory up to a limit.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::Notify;

/// How many lines are kept; older ones are forgotten.
const KEPT: usize = 20_000;

/// The lines of one output stream, filled by a thread of its own.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    forgotten: usize,
    ended: bool,
}

impl Lines {
    /// Starts to read `stream` to its end.
    pub(super) fn follow(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let sink = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                sink.push(String::from_utf8_lossy(&line).into_owned());
            }
            sink.state().ended = true;
            sink.0.news.notify_waiters();
        });
        lines
    }

    /// Every line still kept.
    pub fn all(&self) -> Vec<String> {
        self.state().lines.iter().cloned().collect()
    }

    /// The lines after the first `seen`, and how many there have been then. Waits until there is one;
    /// `None` when the stream has ended and all was seen.
    pub async fn after(&self, seen: usize) -> Option<(Vec<String>, usize)> {
        loop {
            let news = self.0.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            {
                let state = self.state();
                let total = state.forgotten + state.lines.len();
                if total > seen {
                    let skip = seen.saturating_sub(state.forgotten);
                    return Some((state.lines.iter().skip(skip).cloned().collect(), total));
                }
                if state.ended {
                    return None;
                }
            }
            news.await;
        }
    }

    fn push(&self, line: String) {
        let mut state = self.state();
        if state.lines.len() == KEPT {
            state.lines.pop_front();
            state.forgotten += 1;
        }
        state.lines.push_back(line);
        drop(state);
        self.0.news.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_seen_once_and_in_order() {
        let lines = Lines::follow(&b"one\ntwo\nnot \xff UTF-8"[..]);
        let mut seen = 0;
        let mut all = Vec::new();
        while let Some((news, total)) = lines.after(seen).await {
            all.extend(news);
            seen = total;
        }
        assert_eq!(all, ["one", "two", "not \u{fffd} UTF-8"]);
        assert_eq!(lines.all(), all);
    }

    #[tokio::test]
    async fn old_lines_are_forgotten() {
        let lines = Lines::default();
        for n in 0..KEPT + 3 {
            lines.push(n.to_string());
        }
        assert_eq!(lines.all().len(), KEPT);
        let (news, total) = lines.after(0).await.unwrap();
        assert_eq!((news.len(), total), (KEPT, KEPT + 3));
        assert_eq!(
            lines.after(KEPT + 2).await.unwrap().0,
            [(KEPT + 2).to_string()]
        );
    }
}
