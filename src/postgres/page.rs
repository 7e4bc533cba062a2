//! Pages of relations: their header, and whether their checksum is right.
//!
//! Header: PageHeaderData in `src/include/storage/bufpage.h`. Checksum: an FNV-1a in 32 lanes,
//! `src/include/storage/checksum_impl.h`. Judgement: PageIsVerified in
//! `src/backend/storage/page/bufpage.c`.

use super::lsn::Lsn;

/// What a look at one page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    /// All zeros: a page that was added to the file but never written.
    New,
    /// The page says `found`, its bytes give `expected`.
    Mismatch {
        expected: u16,
        found: u16,
    },
    /// No server writes such a header.
    Implausible,
}

const LANES: usize = 32;
/// One word for each lane.
const ROW: usize = LANES * size_of::<u32>();
const FNV_PRIME: u32 = 16_777_619;

/// Where the lanes start (checksumBaseOffsets): part of the format, arbitrary otherwise.
const START: [u32; LANES] = [
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
];

/// Bytes of the fixed part of the header.
const HEADER: usize = 24;
/// pd_checksum.
const CHECKSUM: std::ops::Range<usize> = 8..10;
/// pd_upper.
const UPPER: usize = 14;
/// pd_flags.
const FLAGS: usize = 10;
/// PD_ALL_VISIBLE.
const ALL_VISIBLE: u16 = 0x0004;
/// PD_VALID_FLAG_BITS.
const VALID_FLAGS: u16 = 0x0007;
/// PG_PAGE_LAYOUT_VERSION, the low byte of pd_pagesize_version.
const LAYOUT: u16 = 4;

/// Judges a whole page of a cluster with checksums. `block` counts from the start of the
/// relation, not of the file: files behind the first continue.
pub fn verify(page: &[u8], block: u32) -> Verdict {
    let (Some(found), Some(upper)) = (half(page, CHECKSUM.start), half(page, UPPER)) else {
        return Verdict::Implausible;
    };
    // 0 only on pages that were never written: nothing else may stand there.
    if upper == 0 {
        let new = page.iter().all(|byte| *byte == 0);
        return if new {
            Verdict::New
        } else {
            Verdict::Implausible
        };
    }
    let expected = checksum(page, block);
    if found != expected {
        Verdict::Mismatch { expected, found }
    } else if has_plausible_header(page) {
        Verdict::Ok
    } else {
        Verdict::Implausible
    }
}

/// The LSN behind the last WAL record that changed the page; None for less than a header.
pub fn lsn(page: &[u8]) -> Option<Lsn> {
    let high = word(page, 0)?;
    let low = word(page, 4)?;
    Some(Lsn(u64::from(high) << 32 | u64::from(low)))
}

/// Whether all rows of a table's page are marked as visible to everyone.
pub fn is_all_visible(page: &[u8]) -> bool {
    half(page, FLAGS).is_some_and(|flags| flags & ALL_VISIBLE != 0)
}

/// Whether flags, offsets, size and layout version are such as servers write; with checksums or
/// without. A new page's are not.
pub fn has_plausible_header(page: &[u8]) -> bool {
    let header = || {
        Some((
            half(page, FLAGS)?,
            usize::from(half(page, 12)?),
            usize::from(half(page, UPPER)?),
            usize::from(half(page, 16)?),
            half(page, 18)?,
        ))
    };
    header().is_some_and(|(flags, lower, upper, special, size_and_version)| {
        flags & !VALID_FLAGS == 0
            && HEADER <= lower
            && lower <= upper
            && upper <= special
            && special <= page.len()
            && special % 8 == 0
            && usize::from(size_and_version & 0xFF00) == page.len()
            && size_and_version & 0x00FF == LAYOUT
    })
}

/// pg_checksum_page: of all bytes but the checksum's own, and the block's number.
pub fn checksum(page: &[u8], block: u32) -> u16 {
    let (rows, _) = page.as_chunks::<ROW>();
    let mut lanes = START;
    if let Some((first, rest)) = rows.split_first() {
        let mut first = *first;
        first[CHECKSUM].fill(0);
        mix(&mut lanes, &first);
        for row in rest {
            mix(&mut lanes, row);
        }
    }
    mix(&mut lanes, &[0; ROW]);
    mix(&mut lanes, &[0; ROW]);
    let sum = lanes.iter().fold(0, |sum, lane| sum ^ lane) ^ block;
    // 1 to 65535, since 0 is for pages without a checksum.
    (sum % 65_535) as u16 + 1
}

/// One round of all lanes; independent of each other, so that the compiler can use vectors.
#[inline]
fn mix(lanes: &mut [u32; LANES], row: &[u8; ROW]) {
    let (words, _) = row.as_chunks::<4>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        let mixed = *lane ^ u32::from_le_bytes(*word);
        *lane = mixed.wrapping_mul(FNV_PRIME) ^ (mixed >> 17);
    }
}

fn half(page: &[u8], at: usize) -> Option<u16> {
    page.get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_le_bytes)
}

fn word(page: &[u8], at: usize) -> Option<u32> {
    page.get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PAGE: usize = 8192;

    /// Three pages of pg_class and the first of its free space map, as 18 wrote them.
    fn real() -> Vec<u8> {
        let packed = include_bytes!("../../tests/data/pages.zst");
        zstd::decode_all(&packed[..]).unwrap()
    }

    #[test]
    fn pages_of_a_real_server() {
        let pages = real();
        let blocks = [0, 1, 2, 0];
        for (page, block) in pages.chunks(PAGE).zip(blocks) {
            assert_eq!(verify(page, block), Verdict::Ok);
            assert!(has_plausible_header(page));
            assert!(matches!(verify(page, block + 1), Verdict::Mismatch { .. }));
        }
        assert_eq!(lsn(&pages), Some(Lsn(0x171_B5D0)));
        assert_eq!(pages.len(), 4 * PAGE);
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let pages = real();
        for at in (0..PAGE).filter(|at| *at < HEADER || at % 61 == 0) {
            let mut page = pages[..PAGE].to_vec();
            page[at] ^= 0x10;
            assert!(matches!(verify(&page, 0), Verdict::Mismatch { .. }), "{at}");
        }
    }

    #[test]
    fn new_and_implausible_pages() {
        assert_eq!(verify(&[0; PAGE], 7), Verdict::New);
        assert!(!has_plausible_header(&[0; PAGE]));
        let mut page = vec![0; PAGE];
        page[PAGE - 1] = 1;
        assert_eq!(verify(&page, 0), Verdict::Implausible);
        // A right checksum over a header that can't be: pd_lower behind pd_upper.
        let mut page = real()[..PAGE].to_vec();
        page[13] = 0x20;
        let sum = checksum(&page, 0).to_le_bytes();
        page[CHECKSUM].copy_from_slice(&sum);
        assert_eq!(verify(&page, 0), Verdict::Implausible);
        for length in 0..HEADER {
            assert_ne!(verify(&vec![1; length], 0), Verdict::Ok);
            assert!(!has_plausible_header(&vec![1; length]));
        }
    }
}
