//! What is counted of the traffic between nodes.

/// Counted since the process started; for metrics and for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// Messages handed to an outbox.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Messages for which there was no connection.
    pub unreachable: u64,
    /// Messages that found their outbox full.
    pub dropped: u64,
    /// Connections that were up.
    pub connected: u64,
    /// Connections that were lost after they had been up.
    pub lost: u64,
    /// Connections closed because of what came: no frame of ours, a wrong checksum, a broken stream.
    pub malformed: u64,
    /// Connections closed because of who came: another cluster or founding record, no member, the wrong address.
    pub refused: u64,
    /// Incoming connections closed because they had not said who they are in time, or because too many wait to.
    pub silent: u64,
}
