//! A coalesced read: datagrams of one length from one sender, the last one maybe shorter (Linux UDP_GRO).

/// Keeps the segments that `is_kept` says so of, in their order, at the front of `buffer`, and returns how many bytes that
/// are. `length` bytes were read, in segments of `stride` bytes.
///
/// Whichever segments are taken out, what is left is a coalesced read again.
pub(super) fn retain(
    buffer: &mut [u8],
    length: usize,
    stride: usize,
    mut is_kept: impl FnMut(&[u8]) -> bool,
) -> usize {
    let (length, stride) = (length.min(buffer.len()), stride.max(1));
    let (mut kept, mut start) = (0, 0);
    while start < length {
        let end = start.saturating_add(stride).min(length);
        if is_kept(&buffer[start..end]) {
            if kept != start {
                buffer.copy_within(start..end, kept);
            }
            kept += end - start;
        }
        start = end;
    }
    kept
}
