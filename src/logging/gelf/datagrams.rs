//! A message as datagrams: compressed, and in chunks if it is too long for one, as GELF wants it.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};

/// No datagram is longer, in bytes: what GELF allows for chunks.
const LONGEST: usize = 8_192;

/// What begins each chunk.
const MAGIC: [u8; 2] = [0x1e, 0x0f];

/// Bytes of a chunk before its piece: the magic, the message's id, the chunk's number, and how many
/// there are.
const HEAD: usize = MAGIC.len() + 8 + 1 + 1;

/// Whoever listens takes no message of more chunks.
const MOST_CHUNKS: usize = 128;

/// The datagrams that carry a message, in order. `id` tells its chunks from those of others.
///
/// # Errors
/// If there are too many; no message is that long (see `message`).
pub fn datagrams(message: &[u8], id: u64) -> io::Result<Vec<Vec<u8>>> {
    split(compressed(message)?, id)
}

fn compressed(message: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(message)?;
    encoder.finish()
}

fn split(payload: Vec<u8>, id: u64) -> io::Result<Vec<Vec<u8>>> {
    if payload.len() <= LONGEST {
        return Ok(vec![payload]);
    }
    let pieces = payload.chunks(LONGEST - HEAD);
    let count = pieces.len();
    if count > MOST_CHUNKS {
        return Err(io::Error::other(format!("{count} chunks, at most {MOST_CHUNKS} are taken")));
    }
    let chunk = |(number, piece): (usize, &[u8])| {
        // Both numbers are at most 128, so nothing is cut off.
        let numbers = [number as u8, count as u8];
        [&MAGIC[..], &id.to_be_bytes(), &numbers, piece].concat()
    };
    Ok(pieces.enumerate().map(chunk).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::{super::message, *};

    const ID: u64 = 0x0102_0304_0506_0708;

    /// Bytes that do not become less by compression; a xorshift generator.
    fn noise(count: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..count).map(|_| draw()).collect()
    }

    /// Checks the heads of chunks, and puts their pieces together.
    fn joined(chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut payload = Vec::new();
        for (number, chunk) in chunks.iter().enumerate() {
            assert!(chunk.len() <= 8_192);
            let head = [0x1e, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8, number as u8, chunks.len() as u8];
            assert_eq!(head, chunk[..12]);
            payload.extend_from_slice(&chunk[12..]);
        }
        payload
    }

    #[test]
    fn payload_that_fits_is_one_datagram_without_a_head() {
        for length in [0, 1, 8_191, 8_192] {
            let payload = noise(length);

            assert_eq!(vec![payload.clone()], split(payload, ID).unwrap());
        }
    }

    #[test]
    fn payload_that_does_not_fit_is_chunked() {
        for (length, count) in
            [(8_193, 2), (2 * 8_180, 2), (2 * 8_180 + 1, 3), (128 * 8_180 - 1, 128)]
        {
            let payload = noise(length);

            let chunks = split(payload.clone(), ID).unwrap();

            assert_eq!(count, chunks.len(), "{length}");
            assert!(payload == joined(&chunks), "{length}");
        }
    }

    #[test]
    fn payload_of_more_than_128_chunks_is_refused() {
        assert_eq!(128, split(noise(128 * 8_180), ID).unwrap().len());

        let error = split(noise(128 * 8_180 + 1), ID).unwrap_err();

        assert_eq!("129 chunks, at most 128 are taken", error.to_string());
    }

    #[test]
    fn longest_message_fits_even_if_it_cannot_be_compressed() {
        let message = noise(message::LONGEST);

        let chunks = datagrams(&message, ID).unwrap();

        let mut text = Vec::new();
        GzDecoder::new(&*joined(&chunks)).read_to_end(&mut text).unwrap();
        assert!(message == text);
    }

    #[test]
    fn long_message_that_compresses_well_is_one_datagram() {
        assert_eq!(1, datagrams(&[b'x'; 100_000], ID).unwrap().len());
    }
}
