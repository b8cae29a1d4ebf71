//! Makes the modules that the property tests run, from numbers: the same ones in each build.

#[path = "smith.rs"]
mod smith;

use std::{env, error::Error, fs, path::PathBuf};

/// Modules to make.
const COUNT: u64 = 256;
/// Bytes from which each is made.
const BYTES: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=smith.rs");
    let directory = PathBuf::from(env::var("OUT_DIR")?).join("smith");
    fs::create_dir_all(&directory)?;
    for number in 0..COUNT {
        let module = smith::module(&noise(number)).ok_or("too few bytes for a module")?;
        fs::write(directory.join(format!("{number}.wasm")), module)?;
    }
    Ok(())
}

/// The generator splitmix64: a few lines, and no two seeds alike.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0xd134_2543_de82_ef95);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    (0..BYTES / 8).flat_map(|_| next().to_le_bytes()).collect()
}
