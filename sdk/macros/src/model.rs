//! What taps there are, and what a checked use of the attribute says.

use syn::Ident;

/// A tap of the contract.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) name: &'static str,
    pub(crate) parameters: &'static [(&'static str, Kind)],
    pub(crate) answer: Answer,
}

/// What a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An item to read.
    Item,
    /// An item to change.
    ItemMut,
    /// A question to `item_access`.
    Request,
    /// A run of `cron`.
    Run,
}

/// What a tap answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Nothing,
    RenderElement,
    Access,
}

/// All taps, in the order of the documentation.
pub(crate) const TAPS: [Tap; 7] = [
    Tap { name: "item_view", parameters: &[("item", Kind::Item)], answer: Answer::RenderElement },
    Tap { name: "item_presave", parameters: &[("item", Kind::ItemMut)], answer: Answer::Nothing },
    Tap { name: "item_insert", parameters: &[("item", Kind::Item)], answer: Answer::Nothing },
    Tap { name: "item_update", parameters: &[("item", Kind::Item), ("original", Kind::Item)], answer: Answer::Nothing },
    Tap { name: "item_delete", parameters: &[("item", Kind::Item)], answer: Answer::Nothing },
    Tap {
        name: "item_access",
        parameters: &[("item", Kind::Item), ("request", Kind::Request)],
        answer: Answer::Access,
    },
    Tap { name: "cron", parameters: &[("run", Kind::Run)], answer: Answer::Nothing },
];

impl Kind {
    pub(crate) fn is_item(self) -> bool {
        matches!(self, Self::Item | Self::ItemMut)
    }

    /// The type as the author writes it.
    pub(crate) fn written(self, lazy: bool) -> &'static str {
        match self {
            Self::Item | Self::ItemMut if lazy => "ItemHandle",
            Self::Item => "&Item",
            Self::ItemMut => "&mut Item",
            Self::Request => "&AccessRequest",
            Self::Run => "&CronRun",
        }
    }
}

impl Answer {
    /// The type as the author writes it. None: nothing is written.
    pub(crate) fn written(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::RenderElement => Some("RenderElement"),
            Self::Access => Some("Access"),
        }
    }
}

impl Tap {
    /// Only what gets an item has a lazy form and fields.
    pub(crate) fn has_item(&self) -> bool {
        self.parameters.iter().any(|(_, kind)| kind.is_item())
    }

    /// The function that the author is to write.
    pub(crate) fn signature(&self, function: &str, lazy: bool) -> String {
        let parameters: Vec<_> =
            self.parameters.iter().map(|(name, kind)| format!("{name}: {}", kind.written(lazy))).collect();
        let answer = self.answer.written().map(|answer| format!(" -> {answer}")).unwrap_or_default();
        format!("fn {function}({}){answer}", parameters.join(", "))
    }
}

/// A use of the attribute that passed all checks.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) tap: &'static Tap,
    pub(crate) lazy: bool,
    pub(crate) order: Order,
    pub(crate) fields: Option<Vec<String>>,
    pub(crate) function: Ident,
    /// Where an unfit return type is to be shown.
    pub(crate) answer_span: proc_macro2::Span,
}

/// Where the author wants the handler.
#[derive(Debug, Default)]
pub(crate) struct Order {
    pub(crate) weight: i32,
    pub(crate) before: Vec<String>,
    pub(crate) after: Vec<String>,
    pub(crate) first: bool,
    pub(crate) last: bool,
}
