//! Custom sections: reading those of one name, and leaving out what only costs bytes.

use wasmparser::{BinaryReader, BinaryReaderError, Parser, Payload};

/// The section in which `#[tap]` leaves one line of JSON for each tap.
pub(crate) const TAPS: &str = "tapline:taps";

/// The bytes of all `tapline:taps` sections of a core module, in their order.
pub(crate) fn taps(module: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CustomSection(section) = payload?
            && section.name() == TAPS
        {
            found.extend_from_slice(section.data());
        }
    }
    Ok(found)
}

/// Appends a custom section to a module or a component.
pub(crate) fn append(binary: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut content = Vec::new();
    leb128(&mut content, name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(data);
    section(binary, CUSTOM, &content);
}

const CUSTOM: u8 = 0;
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// The same module or component without the sections that no host reads, in it and in everything nested in it.
///
/// Only bytes that wit-component has written come here: it nests three levels at most.
pub(crate) fn strip(binary: &[u8], keep_names: bool) -> Result<Vec<u8>, BinaryReaderError> {
    let mut reader = BinaryReader::new(binary, 0);
    let header = reader.read_bytes(8)?;
    // The last two bytes of the header tell the layers apart: 0 for a module, 1 for a component.
    let is_component = header.get(6) == Some(&1);
    let mut out = header.to_vec();
    while !reader.eof() {
        let id = reader.read_u8()?;
        let size = reader.read_var_u32()?;
        let content = reader.read_bytes(size as usize)?;
        match id {
            CUSTOM if is_dropped(BinaryReader::new(content, 0).read_string()?, keep_names) => {}
            CORE_MODULE | COMPONENT if is_component => section(&mut out, id, &strip(content, keep_names)?),
            _ => section(&mut out, id, content),
        }
    }
    Ok(out)
}

fn is_dropped(name: &str, keep_names: bool) -> bool {
    match name {
        // Which compiler made it, and with which features: the host validates the code itself.
        "producers" | "target_features" => true,
        // What refers to what: `trim` has read it.
        "linking" => true,
        // Goes to the outside of the component.
        TAPS => true,
        "name" | "component-name" => !keep_names,
        other => other.starts_with("reloc.") || (other.starts_with(".debug_") && !keep_names),
    }
}

fn section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    leb128(out, content.len());
    out.extend_from_slice(content);
}

fn leb128(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_of_any_length_is_read_back() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let data = vec![b'x'; length];
            let mut module = b"\0asm\x01\0\0\0".to_vec();
            append(&mut module, TAPS, &data);
            assert_eq!(taps(&module).unwrap(), data);
        }
    }

    #[test]
    fn several_sections_are_joined_in_order() {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        append(&mut module, TAPS, b"one\n");
        append(&mut module, "other", b"no\n");
        append(&mut module, TAPS, b"two\n");
        assert_eq!(taps(&module).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn strip_keeps_what_it_does_not_know() {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        let bare = module.len();
        append(&mut module, "mine", b"stays");
        let with_mine = module.clone();
        append(&mut module, "producers", b"goes");
        append(&mut module, "name", b"asked for");
        assert_eq!(strip(&module, false).unwrap(), with_mine);
        assert!(strip(&module, true).unwrap().len() > with_mine.len());
        assert!(with_mine.len() > bare);
    }
}
