//! What a guest returns: bytes of its memory, lifted, checked and put on a page.

use std::sync::{Arc, LazyLock, Mutex};

use tapline_content::{Contribution, Field, Item, ItemPresave, ItemView, MAX_TEXT, Value};
use tapline_host_core::{CallError, PluginSpec};

use crate::{
    guest::{ANSWER_BASE, ANSWERS, component},
    host::{Fixture, assert_guests_fault, lock, name},
    markup::{assert_clean, assert_head},
};

/// Most bytes that are handed over: what the memory of the guest has room for.
const MAX_INPUT: usize = 1 << 20;

static HOST: LazyLock<Mutex<Fixture>> = LazyLock::new(|| {
    let fixture = Fixture::new();
    {
        let fixture = lock(&fixture);
        let module = wat::parse_str(ANSWERS).unwrap();
        let plugin = PluginSpec::bytes(name(), component(&module, "answers").unwrap());
        fixture.block_on(fixture.host.load(plugin)).unwrap();
    }
    fixture
});

/// What the host made of the answers.
#[derive(Debug)]
pub struct Answer {
    /// The answer of `item_view`.
    pub view: Result<Contribution, CallError>,
    /// The answer of `item_presave`: the item with its changes.
    pub presave: Result<Arc<Item>, CallError>,
}

/// Returns `bytes` from a guest as the memory of its answer to `item_view`, and again to `item_presave`. Pointers are
/// addresses of the guest, in which the bytes begin at 1024.
pub fn answer(bytes: &[u8]) -> Answer {
    let fixture = lock(&HOST);
    fixture.input.set(&bytes[..bytes.len().min(MAX_INPUT)]);
    let (mut view, presave) = fixture.block_on(async {
        let view = fixture.host.dispatch(ItemView, &fixture.item).await.expect("a failing handler is skipped");
        (view, fixture.host.dispatch(ItemPresave, Arc::clone(&fixture.item)).await)
    });
    fixture.assert_settled();
    let view = match (view.answers.pop(), view.failures.pop()) {
        (Some((_, contribution)), None) => Ok(contribution),
        (None, Some(error)) => Err(error),
        other => panic!("one handler answers or fails: {other:?}"),
    };
    match &view {
        Ok(contribution) => {
            let (head, body) = (contribution.head(), contribution.body());
            assert_head(&head);
            assert_clean(&body);
            // A character becomes at most the six of `&quot;`, and a tag of one letter is closed by four.
            assert!(head.len() + body.len() <= 16 * MAX_TEXT, "{} bytes on the page", head.len() + body.len());
        }
        Err(error) => assert_guests_fault(error),
    }
    let presave = presave.map(|change| change.state);
    match &presave {
        Ok(item) => {
            let same = Item::new(item.header().clone(), item.fields().to_vec());
            assert_eq!(same.as_ref(), Ok(&**item), "an item keeps its rules");
        }
        Err(error) => assert_guests_fault(error),
    }
    Answer { view, presave }
}

/// What a plugin adds to a page, as the contract has it. Nothing is checked.
#[derive(Clone, Debug, Default)]
pub struct Render {
    /// For the head of the page.
    pub head: Vec<Head>,
    /// All nodes.
    pub nodes: Vec<Node>,
    /// Indexes of those at the top.
    pub roots: Vec<u32>,
}

/// An entry for the head of the page.
#[derive(Clone, Debug)]
pub enum Head {
    /// Name and content.
    Meta(String, String),
    /// Property and content.
    Property(String, String),
    /// A JSON-LD document.
    JsonLd(String),
}

/// One node of a tree.
#[derive(Clone, Debug)]
pub enum Node {
    /// An element.
    Element {
        /// Its tag.
        tag: String,
        /// Names and values.
        attributes: Vec<(String, String)>,
        /// Indexes of nodes.
        children: Vec<u32>,
    },
    /// Text.
    Text(String),
    /// Markup.
    Markup(String),
}

/// What `item_presave` wants changed, as the contract has it. Nothing is checked.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The new title.
    pub title: Option<String>,
    /// Fields to add or replace.
    pub set: Vec<Field>,
    /// Names of fields to take away.
    pub removed: Vec<String>,
}

/// The memory of a successful answer to `item_view`, by the component model's canonical ABI.
pub fn encode_render(render: &Render) -> Vec<u8> {
    // result: a discriminant in 4 bytes, then three lists.
    let mut memory = Memory::new(28);
    memory.list(4, &render.head, (20, 4), |memory, at, entry| match entry {
        Head::Meta(name, content) => memory.variant(at, 0, 4, &[name, content]),
        Head::Property(name, content) => memory.variant(at, 1, 4, &[name, content]),
        Head::JsonLd(text) => memory.variant(at, 2, 4, &[text]),
    });
    memory.list(12, &render.nodes, (28, 4), |memory, at, node| match node {
        Node::Element { tag, attributes, children } => {
            memory.variant(at, 0, 4, &[tag]);
            memory.list(at + 12, attributes, (16, 4), |memory, at, (name, value)| memory.strings(at, &[name, value]));
            memory.list(at + 20, children, (4, 4), |memory, at, child| memory.word(at, *child));
        }
        Node::Text(text) => memory.variant(at, 1, 4, &[text]),
        Node::Markup(text) => memory.variant(at, 2, 4, &[text]),
    });
    memory.list(20, &render.roots, (4, 4), |memory, at, root| memory.word(at, *root));
    memory.0
}

/// The memory of a successful answer to `item_presave`, by the component model's canonical ABI.
pub fn encode_changes(changes: &Changes) -> Vec<u8> {
    // result: a discriminant in 4 bytes; option<string>: one in 4 bytes; then two lists.
    let mut memory = Memory::new(32);
    if let Some(title) = &changes.title {
        memory.variant(4, 1, 4, &[title]);
    }
    memory.list(16, &changes.set, (40, 8), |memory, at, field| {
        memory.strings(at, &[&field.name]);
        memory.value(at + 8, &field.value);
    });
    memory.list(24, &changes.removed, (8, 4), |memory, at, name| memory.strings(at, &[name]));
    memory.0
}

/// The memory of an answer as it grows. Places are counted from its start.
struct Memory(Vec<u8>);

impl Memory {
    fn new(size: usize) -> Self {
        Self(vec![0; size])
    }

    fn allocate(&mut self, size: usize, align: usize) -> usize {
        let at = self.0.len().next_multiple_of(align);
        self.0.resize(at + size, 0);
        at
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn word(&mut self, at: usize, word: u32) {
        self.put(at, &word.to_le_bytes());
    }

    /// A pointer and a length.
    fn slice(&mut self, at: usize, start: usize, length: usize) {
        self.word(at, ANSWER_BASE + u32::try_from(start).unwrap());
        self.word(at + 4, u32::try_from(length).unwrap());
    }

    fn strings(&mut self, at: usize, texts: &[&str]) {
        for (index, text) in texts.iter().enumerate() {
            let start = self.allocate(text.len(), 1);
            self.put(start, text.as_bytes());
            self.slice(at + 8 * index, start, text.len());
        }
    }

    /// A case of a variant that holds texts, `payload` bytes behind its discriminant.
    fn variant(&mut self, at: usize, case: u8, payload: usize, texts: &[&str]) {
        self.0[at] = case;
        self.strings(at + payload, texts);
    }

    fn list<T>(
        &mut self,
        at: usize,
        items: &[T],
        (size, align): (usize, usize),
        mut put: impl FnMut(&mut Self, usize, &T),
    ) {
        let start = self.allocate(size * items.len(), align);
        for (index, item) in items.iter().enumerate() {
            put(self, start + size * index, item);
        }
        self.slice(at, start, items.len());
    }

    fn value(&mut self, at: usize, value: &Value) {
        match value {
            Value::Null => self.0[at] = 0,
            Value::Boolean(value) => self.scalar(at, 1, &[u8::from(*value)]),
            Value::Integer(value) => self.scalar(at, 2, &value.to_le_bytes()),
            Value::Float(value) => self.scalar(at, 3, &value.to_le_bytes()),
            Value::Text(text) => self.variant(at, 4, 8, &[text]),
            Value::Formatted(text) => self.variant(at, 5, 8, &[&text.format, &text.text]),
            Value::Reference(one) => self.variant(at, 6, 8, &[&one.kind, &one.id, &one.label]),
            Value::References(many) => {
                self.0[at] = 7;
                self.list(at + 8, many, (24, 4), |memory, at, one| {
                    memory.strings(at, &[&one.kind, &one.id, &one.label])
                });
            }
            Value::Json(text) => self.variant(at, 8, 8, &[text]),
        }
    }

    fn scalar(&mut self, at: usize, case: u8, bytes: &[u8]) {
        self.0[at] = case;
        self.put(at + 8, bytes);
    }
}
