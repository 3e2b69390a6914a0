//! One place per key: the documentation comment of a field is its rustdoc, its comment in `config.toml` and its answer
//! to `arq config doc`; the value beside it is its only default.

/// A key of the configuration, as the code declares it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// The name in the file.
    pub(super) name: &'static str,
    /// Its documentation, one line of text per line, each with the leading space of a doc comment.
    pub(super) text: &'static str,
}

/// A table of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// The dotted name: `limits`, `auth.keys`.
    pub(super) path: &'static str,
    /// Whether it is an array of tables, `[[auth.keys]]`.
    pub(super) array: bool,
    /// What the table is for.
    pub(super) text: &'static str,
    /// Its keys, in the order of the file.
    pub(super) keys: &'static [Key],
}

impl Section {
    /// The header as the file writes it.
    pub(super) fn header(&self) -> String {
        if self.array { format!("[[{}]]", self.path) } else { format!("[{}]", self.path) }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|known| known.name == key)
    }
}

/// Declares one table: struct, defaults and documentation. `nested` fields are tables of their own, documented there.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident = $path:literal {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)*)])?
                $field:ident: $ty:ty = $default:expr,
            )+
        }
        $(nested { $( $(#[doc = $nested_doc:literal])+ $nested:ident: $nested_ty:ty, )+ })?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                $(#[serde($($serde)*)])?
                pub $field: $ty,
            )+
            $($( $(#[doc = $nested_doc])+ pub $nested: $nested_ty, )+)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ $($($nested: <$nested_ty>::default(),)+)? }
            }
        }

        impl $name {
            pub(super) const SECTION: crate::config::section::Section = crate::config::section::Section {
                path: $path,
                array: false,
                text: concat!($($about, "\n"),+),
                keys: &[$(crate::config::section::Key {
                    name: stringify!($field),
                    text: concat!($($doc, "\n"),+),
                },)+],
            };
        }
    };
}
pub(super) use section;
