//! What a connection still has to write: small replies gathered in one buffer, large values as chunks of their own.
//!
//! A value of [`OWN_CHUNK_BYTES_MIN`] or more is not copied: its `Bytes` takes a place between two pieces of buffer,
//! and the host writes all pieces with one `writev` ([`Buf::chunks_vectored`]).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// From this length on a value is written from where it lies. Below it, a copy costs less than another piece.
pub(super) const OWN_CHUNK_BYTES_MIN: usize = 4_096;

/// Bytes waiting to be written, in order.
#[derive(Debug, Default)]
pub struct Output {
    /// Finished pieces, oldest first.
    chunks: VecDeque<Bytes>,
    /// Bytes in `chunks`.
    chunk_bytes: usize,
    /// What is being added to; comes after all chunks.
    tail: BytesMut,
    /// Bytes that have left.
    written: u64,
}

impl Output {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.chunk_bytes + self.tail.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes have been written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Where small replies are appended.
    pub(super) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends bytes: by copy when they are few, otherwise as a piece of their own.
    pub(super) fn append(&mut self, bytes: Bytes) {
        if bytes.len() < OWN_CHUNK_BYTES_MIN {
            self.tail.put_slice(&bytes);
            return;
        }
        if !self.tail.is_empty() {
            let before = self.tail.split().freeze();
            self.push(before);
        }
        self.push(bytes);
    }

    fn push(&mut self, chunk: Bytes) {
        self.chunk_bytes += chunk.len();
        self.chunks.push_back(chunk);
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&self.tail[..], |chunk| &chunk[..])
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        let pieces = self.chunks.iter().map(|chunk| &chunk[..]).chain(tail);
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len(), "no more can have been written than was there");
        self.written += count as u64;
        while let Some(front) = self.chunks.front_mut() {
            let step = count.min(front.len());
            front.advance(step);
            self.chunk_bytes -= step;
            count -= step;
            if !front.is_empty() {
                return;
            }
            self.chunks.pop_front();
        }
        if count == self.tail.len() {
            // `clear` keeps the allocation where `advance` would shrink it.
            self.tail.clear();
        } else {
            self.tail.advance(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_leave_in_order_however_they_are_cut() {
        for step in [1, 7, 4_096, 5_000, 100_000] {
            let mut output = Output::default();
            output.tail().put_slice(b"head ");
            output.append(Bytes::from(vec![b'v'; 5_000]));
            output.append(Bytes::from_static(b" small "));
            output.append(Bytes::from(vec![b'w'; 4_096]));
            output.tail().put_slice(b" tail");
            let whole = 5 + 5_000 + 7 + 4_096 + 5;
            assert_eq!(output.len(), whole);
            let mut written = Vec::new();
            while output.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 3];
                let filled = output.chunks_vectored(&mut slices);
                let offered: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
                let taken = step.min(offered.len());
                written.extend_from_slice(&offered[..taken]);
                output.advance(taken);
            }
            assert_eq!(written.len(), whole);
            assert!(written.starts_with(b"head vvv"));
            assert!(written.ends_with(b"www tail"));
            assert!(output.is_empty());
        }
    }

    #[test]
    fn a_large_value_is_not_copied() {
        let value = Bytes::from(vec![1u8; OWN_CHUNK_BYTES_MIN]);
        let mut output = Output::default();
        output.append(value.clone());
        assert_eq!(output.chunk().as_ptr(), value.as_ptr());
        output.append(value.slice(1..));
        assert_eq!(output.tail().len(), OWN_CHUNK_BYTES_MIN - 1, "one byte shorter is copied");
    }
}
