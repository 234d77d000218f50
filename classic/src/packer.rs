//! Data in datagrams: packed where that gains, with a digest, and the way back.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use md5::{Digest, Md5};

use super::wire::{DIGEST_BYTES, HEAD_BYTES, Parcel};

/// Bytes that packing must save to be used; the script's figure.
const MIN_GAIN_BYTES: usize = 100;

/// Pieces in a row that could not be packed, after which only some are tried: what is encrypted stays so.
const TRIES_IN_VAIN: u32 = 8;

/// Of pieces that probably cannot be packed, each so-and-so-many-th is tried.
const TRIED_SELDOM: u32 = 16;

/// How much was sent, before and after packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ratio {
    /// Bytes of TCP data.
    pub original: u64,
    /// Bytes that they took, without heads.
    pub packed: u64,
}

impl Ratio {
    /// Returns packed to original; 1 where nothing was sent.
    #[must_use]
    pub fn value(self) -> f64 {
        if self.original == 0 { 1.0 } else { self.packed as f64 / self.original as f64 }
    }
}

/// Packs and unpacks; keeps the memory that this takes.
#[derive(Debug)]
pub(super) struct Packer {
    compress: Compress,
    decompress: Decompress,
    scratch: Vec<u8>,
    in_vain: u32,
    ratio: Ratio,
}

impl Packer {
    pub(super) fn new() -> Self {
        Self {
            compress: Compress::new(Compression::fast(), true),
            decompress: Decompress::new(true),
            scratch: Vec::new(),
            in_vain: 0,
            ratio: Ratio::default(),
        }
    }

    /// Makes a datagram of a piece of data of at most 65,535 bytes.
    pub(super) fn pack(&mut self, number: u16, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).expect("a piece fits into a datagram");
        let is_packed = self.is_worth_a_try(data) && self.deflate(data);
        let body = if is_packed { &self.scratch } else { data };
        self.ratio.original += u64::from(length);
        self.ratio.packed += body.len() as u64;
        Parcel { is_packed, number, length, digest: digest(data), body }.encode()
    }

    /// Returns the original data, if length and digest are right.
    pub(super) fn unpack(&mut self, parcel: &Parcel<'_>) -> Option<Vec<u8>> {
        let length = usize::from(parcel.length);
        let data = if parcel.is_packed { self.inflate(parcel.body, length)? } else { parcel.body.to_vec() };
        (data.len() == length && digest(&data) == parcel.digest).then_some(data)
    }

    pub(super) fn ratio(&self) -> Ratio {
        self.ratio
    }

    /// Takes a datagram of so many bytes of data back out of the count: it is packed anew.
    pub(super) fn take_back(&mut self, data: usize, datagram: usize) {
        self.ratio.original = self.ratio.original.saturating_sub(data as u64);
        self.ratio.packed = self.ratio.packed.saturating_sub((datagram - HEAD_BYTES) as u64);
    }

    /// Begins to count anew.
    pub(super) fn reset(&mut self) {
        self.in_vain = 0;
        self.ratio = Ratio::default();
    }

    fn is_worth_a_try(&mut self, data: &[u8]) -> bool {
        if data.len() <= MIN_GAIN_BYTES {
            return false;
        }
        let is_tried = self.in_vain < TRIES_IN_VAIN || self.in_vain.is_multiple_of(TRIED_SELDOM);
        if !is_tried {
            self.in_vain += 1;
        }
        is_tried
    }

    /// Packs into the scratch space; false if that would not gain enough.
    fn deflate(&mut self, data: &[u8]) -> bool {
        let room = data.len() - MIN_GAIN_BYTES - 1;
        self.scratch.clear();
        self.scratch.reserve_exact(room);
        self.compress.reset();
        let status = self.compress.compress_vec(data, &mut self.scratch, FlushCompress::Finish);
        // A vector may have more room than was asked for.
        let gains = matches!(status, Ok(Status::StreamEnd)) && self.scratch.len() <= room;
        self.in_vain = if gains { 0 } else { self.in_vain.saturating_add(1) };
        gains
    }

    /// Unpacks; `None` if the stream is broken, or longer than its head says.
    fn inflate(&mut self, body: &[u8], length: usize) -> Option<Vec<u8>> {
        let mut data = Vec::with_capacity(length + 1);
        self.decompress.reset(true);
        let status = self.decompress.decompress_vec(body, &mut data, FlushDecompress::Finish).ok()?;
        (status == Status::StreamEnd).then_some(data)
    }
}

fn digest(data: &[u8]) -> [u8; DIGEST_BYTES] {
    let whole = Md5::digest(data);
    *whole.first_chunk().expect("an MD5 has 16 bytes")
}

#[cfg(test)]
mod tests {
    use rand_core::{Rng, SeedableRng};

    use super::{super::wire::*, *};

    fn parcel(datagram: &[u8]) -> Parcel<'_> {
        match parse(datagram) {
            Some(Message::Data(parcel)) => parcel,
            other => panic!("{other:?}"),
        }
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        rand_chacha::ChaCha20Rng::from_seed([1; 32]).fill_bytes(&mut noise);
        noise
    }

    #[test]
    fn a_digest_is_the_head_of_the_md5() {
        // md5sum of "abc": 900150983cd24fb0d6963f7d28e17f72
        let abc = [0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0, 0xd6, 0x96, 0x3f];
        assert_eq!(digest(b"abc"), abc);
    }

    #[test]
    fn what_packs_well_is_packed_and_what_does_not_is_not() {
        let mut packer = Packer::new();
        let text = b"the same again and ".repeat(2000);
        let packed = packer.pack(3, &text);
        assert!(packed[0] == b'C' && packed.len() < text.len() / 10);
        assert_eq!(packer.unpack(&parcel(&packed)), Some(text.clone()));
        assert!(packer.ratio().value() < 0.1);
        for raw in [noise(40_000), b"short".repeat(20), text[..101].to_vec()] {
            let sent = packer.pack(4, &raw);
            assert!(sent[0] == b'U' && sent[HEAD_BYTES..] == raw);
            assert_eq!(packer.unpack(&parcel(&sent)), Some(raw));
        }
    }

    #[test]
    fn after_noise_text_is_packed_again_soon() {
        let mut packer = Packer::new();
        let (noise, text) = (noise(1000), b"text ".repeat(1000));
        for _ in 0..100 {
            packer.pack(0, &noise);
        }
        let first = (0..100).position(|_| packer.pack(0, &text)[0] == b'C').expect("at last");
        assert!(first <= TRIED_SELDOM as usize, "{first}");
        assert_eq!(packer.pack(0, &text)[0], b'C');
    }

    #[test]
    fn a_wrong_bit_anywhere_behind_the_number_is_found() {
        let mut packer = Packer::new();
        for data in [b"some bytes".to_vec(), b"pack me ".repeat(100)] {
            let sent = packer.pack(0, &data);
            for bit in 3 * 8..sent.len() * 8 {
                let mut bad = sent.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let got = packer.unpack(&parcel(&bad));
                assert!(got.is_none() || got.as_ref() == Some(&data), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_stream_that_is_longer_than_its_head_says_takes_no_more_memory() {
        let mut packer = Packer::new();
        let bomb = packer.pack(0, &vec![0; 60_000]);
        let liar = Parcel { length: 10, ..parcel(&bomb) };
        assert_eq!(packer.unpack(&liar), None);
    }
}
