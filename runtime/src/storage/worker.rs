//! A thread that does one blocking thing at a time for the driver, in order.
//!
//! Jobs go in, ends come out in the same order, and each end rings the driver's bell. Dropping the worker lets it
//! finish what it was given and waits for it.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Wakes the driver from any thread.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// See the module's page.
pub(super) struct Worker<Job, End> {
    jobs: Option<Sender<Job>>,
    ends: Arc<Mutex<VecDeque<End>>>,
    thread: Option<JoinHandle<()>>,
}

impl<Job: Send + 'static, End: Send + 'static> Worker<Job, End> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(super) fn start(name: &str, bell: Bell, mut work: impl FnMut(Job) -> End + Send + 'static) -> io::Result<Self> {
        let (jobs, inbox) = channel::<Job>();
        let ends = Arc::new(Mutex::new(VecDeque::new()));
        let outbox = Arc::clone(&ends);
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            for job in inbox {
                let end = work(job);
                outbox.lock().unwrap_or_else(PoisonError::into_inner).push_back(end);
                bell();
            }
        })?;
        Ok(Self { jobs: Some(jobs), ends, thread: Some(thread) })
    }

    /// Hands a job over.
    pub(super) fn send(&self, job: Job) {
        let jobs = self.jobs.as_ref().expect("it is there until the worker is dropped");
        jobs.send(job).unwrap_or_else(|_| panic!("a worker ends only when it is dropped or has panicked"));
    }

    /// The oldest end that was not taken yet.
    pub(super) fn take(&self) -> Option<End> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl<Job, End> Drop for Worker<Job, End> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic over there was reported by the panic hook; there is nobody left to answer to.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn ends_come_in_the_order_of_the_jobs_and_ring_the_bell() {
        let rung = Arc::new(AtomicUsize::new(0));
        let bell: Bell = {
            let rung = Arc::clone(&rung);
            Arc::new(move || {
                rung.fetch_add(1, Ordering::SeqCst);
            })
        };
        let worker = Worker::start("doubler", bell, |job: u32| job * 2).unwrap();
        (0..100).for_each(|job| worker.send(job));
        let ends = Arc::clone(&worker.ends);
        drop(worker);
        assert_eq!(rung.load(Ordering::SeqCst), 100);
        let ends: Vec<_> = ends.lock().unwrap().iter().copied().collect();
        assert_eq!(ends, (0..100).map(|job| job * 2).collect::<Vec<_>>());
    }
}
