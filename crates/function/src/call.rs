//! A call as people write it: `fibonacci(10)`.

use wasm_wave::untyped::UntypedFuncCall;

use crate::error::Error;

/// The longest text of a call: far more than a command line has room for.
const MAX_BYTES: usize = 1 << 20;

/// A call whose arguments have no types yet.
pub(crate) struct CallText {
    pub(crate) function: String,
    /// What WAVE reads. Its name for the function is a stand-in, because a function may have any name.
    pub(crate) arguments: UntypedFuncCall<'static>,
}

impl CallText {
    /// Reads the name up to the first parenthesis, and the arguments from there.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |position, message: &str| Error::BadCall { position, message: message.to_owned() };
        if text.len() > MAX_BYTES {
            return Err(refuse(0, "it has more than 1 MiB"));
        }
        let Some(open) = text.find('(') else {
            return Err(refuse(text.len(), "there are no parentheses behind the name"));
        };
        let function = text[..open].trim();
        if function.is_empty() {
            return Err(refuse(0, "there is no name before the parentheses"));
        }
        let stand_in = format!("f{}", text[open..].trim_end());
        let arguments = UntypedFuncCall::parse(&stand_in).map(UntypedFuncCall::into_owned).map_err(|error| {
            let position = (open + error.span().start).saturating_sub(1).min(text.len());
            Error::BadCall { position, message: error.kind().to_string() }
        })?;
        Ok(Self { function: function.to_owned(), arguments })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_is_a_call() {
        for (text, function) in
            [("f()", "f"), (" a:b/c@1.0.0#f (1, 2) ", "a:b/c@1.0.0#f"), ("_start()", "_start"), ("größe(1)", "größe")]
        {
            assert_eq!(CallText::parse(text).unwrap().function, function, "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        let deep = format!("f({}", "[".repeat(200));
        let texts = ["", "f", "(1)", "f(", "f(1", "f(1,,2)", "f(1) g(2)", "f(\"a)", &deep];
        let errors: Vec<String> = texts
            .iter()
            .map(|text| CallText::parse(text).err().map_or_else(|| "none".to_owned(), |error| error.to_string()))
            .collect();
        expect![[r#"
            this is no call such as `fibonacci(10)`: there are no parentheses behind the name, at byte 0
            this is no call such as `fibonacci(10)`: there are no parentheses behind the name, at byte 1
            this is no call such as `fibonacci(10)`: there is no name before the parentheses, at byte 0
            this is no call such as `fibonacci(10)`: unexpected end of input, at byte 2
            this is no call such as `fibonacci(10)`: unexpected end of input, at byte 3
            this is no call such as `fibonacci(10)`: unexpected token, at byte 4
            this is no call such as `fibonacci(10)`: trailing characters after value, at byte 5
            this is no call such as `fibonacci(10)`: invalid token, at byte 2
            this is no call such as `fibonacci(10)`: value nesting too deep, at byte 101"#]]
        .assert_eq(&errors.join("\n"));
        assert!(CallText::parse(&"f(".repeat(1 << 20)).is_err());
    }
}
