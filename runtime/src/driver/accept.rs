//! The client port: who is let in, and one task for each who is.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tracing::warn;

use super::Host;

/// The pause after a failed accept: the system has no file descriptors left, and asking at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a client hears that came when the node was full.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// Accepts clients for ever, at most `clients_max` at once.
pub async fn accept_clients(host: Rc<Host>, listener: TcpListener, clients_max: usize) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => admit(&host, stream, address.to_string(), clients_max),
            Err(error) => {
                warn!(ev = "client.accept", "cannot accept a client's connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(host: &Rc<Host>, stream: TcpStream, address: String, clients_max: usize) {
    if host.is_draining() {
        return;
    }
    if host.client_count() >= clients_max {
        host.client_refused();
        // A courtesy to a fresh socket, whose buffer is empty; a client that misses it sees the connection close.
        let _ = stream.try_write(TOO_MANY);
        return;
    }
    if stream.set_nodelay(true).is_err() {
        // The client is gone already.
        return;
    }
    let (mut reader, writer) = stream.into_split();
    let number = host.add_client(writer, address);
    let host = Rc::clone(host);
    spawn_local(async move {
        poll_fn(|cx| host.poll_client(number, &mut reader, cx)).await;
        host.remove_client(number);
    });
}
