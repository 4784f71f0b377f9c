//! Waiting for an instant more exactly than a millisecond.
//!
//! The runtime's timers turn once a millisecond, as long as a whole quorum write takes. A thread that sleeps until the
//! earliest due instant and then rings is late by some tens of microseconds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use tokio::sync::Notify;

/// Rings clients awake. Its thread ends with the last handle.
#[derive(Clone)]
pub(super) struct Pace {
    waiting: Arc<Waiting>,
    alive: Arc<()>,
}

#[derive(Default)]
struct Waiting {
    due: Mutex<Due>,
    changed: Condvar,
}

#[derive(Default)]
struct Due {
    /// By instant; the number tells apart what is due at once.
    queue: BinaryHeap<(Reverse<Instant>, u64)>,
    bells: std::collections::BTreeMap<u64, Arc<Notify>>,
    next: u64,
    ended: bool,
}

impl Pace {
    pub(super) fn start() -> std::io::Result<Self> {
        let waiting = Arc::new(Waiting::default());
        let rung = Arc::clone(&waiting);
        std::thread::Builder::new().name("pace".to_string()).spawn(move || rung.ring())?;
        Ok(Pace { waiting, alive: Arc::new(()) })
    }

    /// Returns at `due`, or at once if it has passed.
    pub(super) async fn until(&self, due: Instant) {
        if due <= Instant::now() {
            return;
        }
        let bell = Arc::new(Notify::new());
        {
            let mut waiting = self.waiting.due.lock().expect("nobody panics with this lock");
            let number = waiting.next;
            waiting.next += 1;
            waiting.queue.push((Reverse(due), number));
            waiting.bells.insert(number, Arc::clone(&bell));
        }
        self.waiting.changed.notify_one();
        bell.notified().await;
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        if Arc::strong_count(&self.alive) == 1 {
            self.waiting.due.lock().expect("nobody panics with this lock").ended = true;
            self.waiting.changed.notify_one();
        }
    }
}

impl Waiting {
    fn ring(&self) {
        let mut due = self.due.lock().expect("nobody panics with this lock");
        while !due.ended {
            let now = Instant::now();
            match due.queue.peek() {
                None => due = self.changed.wait(due).expect("nobody panics with this lock"),
                Some((Reverse(instant), _)) if *instant > now => {
                    let left = *instant - now;
                    due = self.changed.wait_timeout(due, left).expect("nobody panics with this lock").0;
                }
                Some(_) => {
                    let (_, number) = due.queue.pop().expect("seen above");
                    due.bells.remove(&number).expect("every place in the queue has a bell").notify_one();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_never_wakes_too_early_and_wakes_everybody() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pace = Pace::start().unwrap();
            let waiters: Vec<_> = [300, 0, 1_700, 50, 5_000, 50]
                .into_iter()
                .map(|micros| {
                    let pace = pace.clone();
                    tokio::spawn(async move {
                        let due = Instant::now() + Duration::from_micros(micros);
                        pace.until(due).await;
                        assert!(Instant::now() >= due, "{micros} us");
                    })
                })
                .collect();
            for waiter in waiters {
                waiter.await.unwrap();
            }
        });
    }
}
