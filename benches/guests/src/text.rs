//! A kernel over text: tags, characters and lines of an HTML document in one pass.

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// `<`: the beginnings of tags.
    pub tags: u64,
    /// Characters, which in UTF-8 may have several bytes.
    pub characters: u64,
    /// Line ends.
    pub lines: u64,
}

/// Counts. With vector instructions [`blocks`], without them [`plain`]: each is the faster one on its machine.
#[must_use]
pub fn count(text: &str) -> Count {
    if cfg!(any(target_feature = "simd128", not(target_arch = "wasm32"))) { blocks(text) } else { plain(text) }
}

/// Byte by byte.
#[must_use]
pub fn plain(text: &str) -> Count {
    let mut count = Count::default();
    for byte in text.bytes() {
        count.add(byte);
    }
    count
}

const LANES: usize = 16;
/// A lane counts in one byte: after so many rounds it could run over.
const ROUNDS: usize = 255;

/// Sixteen bytes at a time, with a counter for each.
#[must_use]
pub fn blocks(text: &str) -> Count {
    use lanes::{Lanes, ZERO};
    let (chunks, rest) = text.as_bytes().as_chunks::<LANES>();
    let mut count = Count::default();
    for block in chunks.chunks(ROUNDS) {
        let (mut tags, mut characters, mut lines) = (ZERO, ZERO, ZERO);
        for chunk in block {
            let bytes = Lanes::load(chunk);
            tags = tags.add_equal(bytes, b'<');
            characters = characters.add_starts(bytes);
            lines = lines.add_equal(bytes, b'\n');
        }
        count.tags += tags.sum();
        count.characters += characters.sum();
        count.lines += lines.sum();
    }
    for byte in rest {
        count.add(*byte);
    }
    count
}

/// Bytes `10xxxxxx` go on with a character; every other begins one. As signed numbers they are those below -64.
fn starts_a_character(byte: u8) -> bool {
    byte.cast_signed() >= -64
}

impl Count {
    fn add(&mut self, byte: u8) {
        self.tags += u64::from(byte == b'<');
        self.characters += u64::from(starts_a_character(byte));
        self.lines += u64::from(byte == b'\n');
    }
}

/// Sixteen bytes in one register. Written out, because a compiler that minds the size of a plugin does not find it by itself.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod lanes {
    use core::arch::wasm32::{
        i8x16_ge, i8x16_splat, u8x16_eq, u8x16_splat, u8x16_sub, u16x8_extadd_pairwise_u8x16,
        u32x4_extadd_pairwise_u16x8, u32x4_extract_lane, u64x2, v128,
    };

    #[derive(Clone, Copy)]
    pub(super) struct Lanes(v128);

    pub(super) const ZERO: Lanes = Lanes(u64x2(0, 0));

    impl Lanes {
        pub(super) fn load(chunk: &[u8; super::LANES]) -> Self {
            let bits = u128::from_le_bytes(*chunk);
            Self(u64x2(bits as u64, (bits >> 64) as u64))
        }

        // A comparison that holds gives a lane of ones, which is -1: to subtract it is to count it.
        pub(super) fn add_equal(self, bytes: Self, byte: u8) -> Self {
            Self(u8x16_sub(self.0, u8x16_eq(bytes.0, u8x16_splat(byte))))
        }

        pub(super) fn add_starts(self, bytes: Self) -> Self {
            Self(u8x16_sub(self.0, i8x16_ge(bytes.0, i8x16_splat(-64))))
        }

        pub(super) fn sum(self) -> u64 {
            let four = u32x4_extadd_pairwise_u16x8(u16x8_extadd_pairwise_u8x16(self.0));
            let lanes = [
                u32x4_extract_lane::<0>(four),
                u32x4_extract_lane::<1>(four),
                u32x4_extract_lane::<2>(four),
                u32x4_extract_lane::<3>(four),
            ];
            lanes.iter().map(|lane| u64::from(*lane)).sum()
        }
    }
}

/// The same where there is no such register, or none that is safe to name: a compiler may find one.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod lanes {
    use super::{LANES, starts_a_character};

    #[derive(Clone, Copy)]
    pub(super) struct Lanes([u8; LANES]);

    pub(super) const ZERO: Lanes = Lanes([0; LANES]);

    impl Lanes {
        pub(super) fn load(chunk: &[u8; LANES]) -> Self {
            Self(*chunk)
        }

        pub(super) fn add_equal(self, bytes: Self, byte: u8) -> Self {
            self.add_where(bytes, |other| other == byte)
        }

        pub(super) fn add_starts(self, bytes: Self) -> Self {
            self.add_where(bytes, starts_a_character)
        }

        fn add_where(mut self, bytes: Self, counts: impl Fn(u8) -> bool) -> Self {
            for (counter, byte) in self.0.iter_mut().zip(bytes.0) {
                *counter += u8::from(counts(byte));
            }
            self
        }

        pub(super) fn sum(self) -> u64 {
            self.0.iter().map(|lane| u64::from(*lane)).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_tags_characters_and_lines() {
        let text = "<p>Größe 4 < 5</p>\n\n🦀";
        let expected = Count { tags: 3, characters: text.chars().count() as u64, lines: 2 };
        assert_eq!(plain(text), expected);
        assert_eq!(blocks(text), expected);
    }

    #[test]
    fn both_ways_agree_on_every_length_also_where_a_lane_would_run_over() {
        let text = "<é\n".repeat(4 * LANES * ROUNDS);
        let expected = Count { tags: 16_320, characters: 48_960, lines: 16_320 };
        assert_eq!((plain(&text), blocks(&text)), (expected, expected));
        for end in 0..100 {
            let part = "<b>\n".repeat(25);
            assert_eq!(plain(&part[..end]), blocks(&part[..end]), "{end}");
        }
    }
}
