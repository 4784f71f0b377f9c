//! A client's end of a RESP2 connection: requests out, replies in, in order. Enough for our own server and for redis.

use std::io;
use std::time::Duration;

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One reply as it came.
pub(crate) type Reply = OwnedFrame;

/// A reply longer than this is no reply to anything we ask: the largest value, in brackets.
const REPLY_BYTES_MAX: usize = 8 << 20;

/// One connection. Requests may be pipelined; replies come in their order.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    output: Vec<u8>,
    input: Vec<u8>,
    /// Up to here `input` is decoded.
    consumed: usize,
}

impl Connection {
    /// Connects, or gives up after `patience`.
    pub(crate) async fn open(address: &str, patience: Duration) -> io::Result<Self> {
        let stream = dial(address, patience).await?;
        Ok(Connection { stream, output: Vec::new(), input: Vec::new(), consumed: 0 })
    }

    /// Puts a request at the end of what [`Connection::flush`] sends.
    pub(crate) fn push(&mut self, arguments: &[&[u8]]) {
        encode(&mut self.output, arguments);
    }

    /// Sends what was pushed.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        Ok(())
    }

    /// The next reply.
    pub(crate) async fn read(&mut self) -> io::Result<Reply> {
        loop {
            let waiting = &self.input[self.consumed..];
            let decoded =
                decode(waiting).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            if let Some((reply, length)) = decoded {
                self.consumed += length;
                if self.consumed == self.input.len() {
                    self.input.clear();
                    self.consumed = 0;
                }
                return Ok(reply);
            }
            if waiting.len() > REPLY_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the reply has no end"));
            }
            self.input.drain(..self.consumed);
            self.consumed = 0;
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// One request and its reply. After an error the connection is of no further use: its next reply may be this one's.
    pub(crate) async fn call(&mut self, arguments: &[&[u8]], patience: Duration) -> io::Result<Reply> {
        self.push(arguments);
        let exchange = async {
            self.flush().await?;
            self.read().await
        };
        tokio::time::timeout(patience, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

/// Connects to an address, or gives up after `patience`.
pub(crate) async fn dial(address: &str, patience: Duration) -> io::Result<TcpStream> {
    let connecting = tokio::time::timeout(patience, TcpStream::connect(address)).await;
    let stream = connecting.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    // Where nobody listens on a port of the ephemeral range, the kernel may connect a socket to itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A request as an array of bulk strings.
pub(crate) fn encode(output: &mut Vec<u8>, arguments: &[&[u8]]) {
    let line = |output: &mut Vec<u8>, kind: u8, number: usize| {
        output.push(kind);
        output.extend_from_slice(number.to_string().as_bytes());
        output.extend_from_slice(b"\r\n");
    };
    line(output, b'*', arguments.len());
    for argument in arguments {
        line(output, b'$', argument.len());
        output.extend_from_slice(argument);
        output.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_an_array_of_bulk_strings() {
        let mut output = Vec::new();
        encode(&mut output, &[b"SET", b"k", b""]);
        assert_eq!(output, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
    }

    #[test]
    fn replies_are_read_however_they_are_cut() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                for byte in b"+OK\r\n$-1\r\n*2\r\n$1\r\na\r\n:7\r\n-ERR no\r\n" {
                    stream.write_all(&[*byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
            let mut connection = Connection::open(&address, Duration::from_secs(5)).await.unwrap();
            assert_eq!(connection.read().await.unwrap(), Reply::SimpleString(b"OK".to_vec()));
            assert_eq!(connection.read().await.unwrap(), Reply::Null);
            let array = Reply::Array(vec![Reply::BulkString(b"a".to_vec()), Reply::Integer(7)]);
            assert_eq!(connection.read().await.unwrap(), array);
            assert_eq!(connection.read().await.unwrap(), Reply::Error("ERR no".to_string()));
            server.await.unwrap();
            assert_eq!(connection.read().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        });
    }
}
