//! Tokens by the thousand: good ones, odd ones, and good ones changed in one place.
//!
//! Nearly all of them are signed after the change, so that the signature does not hide what else a
//! reader would have let pass.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use forecourt::token::algorithm::{Algorithm, KeyKind};
use forecourt::token::mint::{SigningKey, mint, sign_parts};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Map, Value, json};

pub const ISS: &str = "https://issuer.example";
pub const AUD: &str = "https://shop.example";

/// What the issuer signs with; the `kid` is the algorithm's name.
pub const ALGORITHMS: [&str; 5] = ["RS256", "ES256", "EdDSA", "PS256", "ES384"];

/// A key whose JWK does not say for which algorithm it is.
pub const FREE: &str = "free";

const SEED: [u8; 32] = *b"one seed, so one set of changes!";

/// Octets of every kind that JSON, base64 or UTF-8 tells apart.
const OCTETS: &[u8] = b"\0\x01\t\n\r\x1f \"'\\/{}[]:,.+-_=09aeEzZ#\x7f\x80\xc0\xc3\xed\xf4\xff";

/// What a header field can carry, of every kind that base64 and a token tell apart.
const CHARACTERS: &[u8] = b"\t !\"%&'*+,-./09:;=?@AQZ\\_agz{|~\x80\xc3\xff";

/// The issuer's keys, and one of somebody else.
pub struct Issuer {
    keys: Vec<(&'static str, SigningKey)>,
    stranger: SigningKey,
}

/// A token and what is odd about it.
#[derive(Clone)]
pub struct Candidate {
    pub name: String,
    pub token: Vec<u8>,
}

fn named(name: impl Into<String>, token: impl Into<Vec<u8>>) -> Candidate {
    Candidate {
        name: name.into(),
        token: token.into(),
    }
}

fn encode(octets: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(octets)
}

pub fn claims(now: u64) -> Value {
    json!({ "iss": ISS, "aud": AUD, "sub": "user-1", "exp": now + 3600, "iat": now - 5 })
}

impl Issuer {
    pub fn new() -> Self {
        let fresh = |name| SigningKey::generate(Algorithm::named(name).unwrap()).unwrap();
        let rsa = fresh("RS256");
        let key = |name| {
            let algorithm = Algorithm::named(name).unwrap();
            match algorithm.key_kind() {
                KeyKind::Rsa => SigningKey::from_jwk(algorithm, &rsa.private_jwk()).unwrap(),
                _ => fresh(name),
            }
        };
        let mut keys: Vec<_> = ALGORITHMS.map(|name| (name, key(name))).into();
        keys.push((FREE, key("RS512")));
        Self {
            keys,
            stranger: fresh("ES256"),
        }
    }

    pub fn jwks(&self) -> Value {
        let keys = self.keys.iter().map(|(kid, key)| {
            let mut jwk = key.public_jwk(kid);
            if *kid == FREE {
                jwk.as_object_mut().unwrap().remove("alg");
            }
            jwk
        });
        json!({ "keys": keys.collect::<Vec<_>>() })
    }

    fn key(&self, kid: &str) -> &SigningKey {
        &self.keys.iter().find(|(held, _)| *held == kid).unwrap().1
    }

    pub fn signed(&self, claims: &Value) -> String {
        mint(self.key("ES256"), "ES256", &Map::new(), claims)
    }

    /// Signs what is not JSON, or not as we would write it.
    fn signed_texts(&self, header: &[u8], payload: &[u8]) -> String {
        sign_parts(self.key("ES256"), header, payload)
    }

    /// Signs what is not base64, or not as we would write it.
    fn signed_input(&self, input: &[u8]) -> Vec<u8> {
        let signature = encode(self.key("ES256").sign(input));
        [input, b".", signature.as_bytes()].concat()
    }

    /// A good token of every key but the free one.
    pub fn good(&self, now: u64) -> Vec<Candidate> {
        let token = |kid: &str| mint(self.key(kid), kid, &Map::new(), &claims(now));
        ALGORITHMS
            .map(|kid| named(format!("good, {kid}"), token(kid)))
            .into()
    }

    pub fn candidates(&self, now: u64) -> Vec<Candidate> {
        let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &SEED);
        let mut all = self.good(now);
        all.extend(self.odd_claims(now));
        all.extend(self.odd_headers(now));
        all.extend(self.other_algorithms(now));
        all.extend(self.odd_json(now));
        all.extend(self.changed_json(now, &mut rng));
        all.extend(self.changed_base64(now, &mut rng));
        all.extend(self.changed_tokens(now, &mut rng));
        all.extend(self.changed_signatures(now));
        all.extend(self.odd_parts(now));
        all
    }

    fn odd_claims(&self, now: u64) -> Vec<Candidate> {
        let mut all = Vec::new();
        for name in ["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "x"] {
            let mut without = claims(now);
            without.as_object_mut().unwrap().remove(name);
            all.push(named(format!("no {name}"), self.signed(&without)));
            for value in odd_values(now) {
                let mut claims = claims(now);
                claims[name] = value.clone();
                all.push(named(format!("{name}: {value}"), self.signed(&claims)));
            }
        }
        all
    }

    fn odd_headers(&self, now: u64) -> Vec<Candidate> {
        let mut all = Vec::new();
        let stranger = self.stranger.public_jwk("ES256");
        let typs = ["JWT", "jwt", "at+jwt", "application/at+jwt", "logout+jwt"];
        let values = odd_values(now)
            .into_iter()
            .chain([stranger, json!(["exp"]), json!("ES256"), json!("RS256")])
            .chain(typs.map(Value::from));
        for value in values {
            for name in [
                "alg", "kid", "typ", "cty", "crit", "b64", "zip", "enc", "jwk", "jku", "x5c",
                "x5u", "x",
            ] {
                let header = Map::from_iter([(name.to_owned(), value.clone())]);
                for (whose, key) in [("", self.key("ES256")), ("stranger, ", &self.stranger)] {
                    let token = mint(key, "ES256", &header, &claims(now));
                    all.push(named(format!("{whose}{name}: {value}"), token));
                }
            }
        }
        all
    }

    /// Every key with every name of an algorithm and every `kid`, and without `kid`.
    fn other_algorithms(&self, now: u64) -> Vec<Candidate> {
        let mut all = Vec::new();
        let others = [
            "none", "None", "NONE", "", "es256", "rs256", "ES256K", "Ed25519",
        ];
        let names = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str());
        let names: Vec<_> = names.chain(others).collect();
        let payload = claims(now).to_string();
        for (own, key) in &self.keys {
            for alg in &names {
                let header = json!({ "alg": alg, "kid": own }).to_string();
                let token = sign_parts(key, header.as_bytes(), payload.as_bytes());
                all.push(named(format!("{own} as {alg}"), token));
            }
            for (kid, _) in &self.keys {
                let token = mint(key, kid, &Map::new(), &claims(now));
                all.push(named(format!("{own} as kid {kid}"), token));
            }
            let header = json!({ "alg": key.algorithm().as_str() }).to_string();
            let token = sign_parts(key, header.as_bytes(), payload.as_bytes());
            all.push(named(format!("{own} without kid"), token));
        }
        for (kid, key) in &self.keys {
            // A public key as the secret of an HMAC.
            let public = key.public_jwk(kid).to_string();
            let secret = json!({ "kty": "oct", "k": encode(public) });
            let forger = SigningKey::from_jwk(Algorithm::Hs256, &secret).unwrap();
            let token = mint(&forger, kid, &Map::new(), &claims(now));
            all.push(named(format!("{kid} as a secret"), token));
        }
        all
    }

    fn odd_json(&self, now: u64) -> Vec<Candidate> {
        let header = r#"{"alg":"ES256","kid":"ES256"}"#;
        let payload = claims(now).to_string();
        let mut all = Vec::new();
        for (name, text) in respelled(header, "alg") {
            let token = self.signed_texts(&text, payload.as_bytes());
            all.push(named(format!("header: {name}"), token));
        }
        for (name, text) in respelled(&payload, "exp") {
            let token = self.signed_texts(header.as_bytes(), &text);
            all.push(named(format!("payload: {name}"), token));
        }
        let exp = now + 3600;
        for number in [
            format!("{exp}.0"),
            format!("{exp}.9"),
            format!("{exp}e0"),
            format!("{exp}0e-1"),
            format!("+{exp}"),
            format!("0{exp}"),
            format!("{exp}."),
            format!("0x{exp:x}"),
            format!("\"{exp}\""),
            "1e400".into(),
            "1e10".into(),
            "253402300799".into(),
            "253402300800".into(),
            "9007199254740993".into(),
            "9223372036854775807".into(),
            "18446744073709551616".into(),
            "-0".into(),
            "-1".into(),
            "NaN".into(),
            "Infinity".into(),
        ] {
            for name in ["exp", "iat", "x"] {
                let mut claims = claims(now);
                claims[name] = json!("@");
                let text = claims.to_string().replace("\"@\"", &number);
                let token = self.signed_texts(header.as_bytes(), text.as_bytes());
                all.push(named(format!("{name} written {number}"), token));
            }
        }
        all
    }

    /// Every place of the JSON texts, with octets of every kind.
    fn changed_json(&self, now: u64, rng: &mut TestRng) -> Vec<Candidate> {
        let header = br#"{"alg":"ES256","kid":"ES256","typ":"JWT"}"#;
        let payload = claims(now).to_string();
        let mut all = Vec::new();
        for (change, text) in changes(header, OCTETS, 5, rng) {
            let token = self.signed_texts(&text, payload.as_bytes());
            all.push(named(format!("header's JSON: {change}"), token));
        }
        for (change, text) in changes(payload.as_bytes(), OCTETS, 5, rng) {
            let token = self.signed_texts(header, &text);
            all.push(named(format!("payload's JSON: {change}"), token));
        }
        all
    }

    /// Every place of what is signed, with characters of every kind, signed as it then is.
    fn changed_base64(&self, now: u64, rng: &mut TestRng) -> Vec<Candidate> {
        // Two texts of lengths that leave spare bits and call for padding.
        let header = br#"{"alg":"ES256","kid":"ES256"} "#;
        let payload = format!("{} ", claims(now));
        let input = format!("{}.{}", encode(&header[..29]), encode(&payload));
        let mut all: Vec<_> = changes(input.as_bytes(), CHARACTERS, 3, rng)
            .into_iter()
            .map(|(change, text)| named(format!("base64: {change}"), self.signed_input(&text)))
            .collect();
        for spaces in 0..3 {
            let header = &header[..29 + spaces.min(1)];
            let payload = format!("{}{}", claims(now), " ".repeat(spaces));
            let input = format!("{}.{}", encode(header), encode(&payload));
            for (part, at) in [
                ("header", encode(header).len() - 1),
                ("payload", input.len() - 1),
            ] {
                for other in *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
                    let mut text = input.clone().into_bytes();
                    text[at] = other;
                    let name = format!("{spaces} spaces, last of the {part}: {}", other as char);
                    all.push(named(name, self.signed_input(&text)));
                }
            }
            let padded = BASE64_URL_SAFE.encode(header);
            let standard = BASE64_STANDARD_NO_PAD.encode(format!("{}\u{3ff}?>", &payload));
            for (name, input) in [
                ("padded header", format!("{padded}.{}", encode(&payload))),
                (
                    "padded payload",
                    format!("{}.{}", encode(header), BASE64_URL_SAFE.encode(&payload)),
                ),
                (
                    "standard alphabet",
                    format!("{}.{standard}", encode(header)),
                ),
            ] {
                all.push(named(name, self.signed_input(input.as_bytes())));
            }
        }
        all
    }

    /// Every place of whole tokens, the signature left as it was.
    fn changed_tokens(&self, now: u64, rng: &mut TestRng) -> Vec<Candidate> {
        let mut all = Vec::new();
        for good in self.good(now) {
            let every = if good.name.contains("ES256") { 2 } else { 1 };
            for (change, token) in changes(&good.token, CHARACTERS, every, rng) {
                all.push(named(format!("{}: {change}", good.name), token));
            }
        }
        all
    }

    fn changed_signatures(&self, now: u64) -> Vec<Candidate> {
        let mut all = Vec::new();
        for good in self.good(now) {
            let text = String::from_utf8(good.token).unwrap();
            let (input, signature) = text.rsplit_once('.').unwrap();
            let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
            let mut push = |what: String, signature: &[u8]| {
                let token = format!("{input}.{}", encode(signature));
                all.push(named(format!("{}: signature {what}", good.name), token));
            };
            for at in 0..signature.len() {
                let mut flipped = signature.clone();
                flipped[at] ^= 1 << (at % 8);
                push(format!("flipped at {at}"), &flipped);
            }
            let half = signature.len() / 2;
            for length in [0, 1, half, signature.len() - 1] {
                push(format!("cut to {length}"), &signature[..length]);
            }
            push("of zeros".into(), &vec![0; signature.len()]);
            push("of ones".into(), &vec![0xff; signature.len()]);
            push("and one behind".into(), &[&signature[..], &[0]].concat());
            push("twice".into(), &[&signature[..], &signature[..]].concat());
            push(
                "halves swapped".into(),
                &[&signature[half..], &signature[..half]].concat(),
            );
            push(
                "r of zero".into(),
                &[&vec![0; half][..], &signature[half..]].concat(),
            );
            if let Ok(signature) = p256::ecdsa::Signature::from_slice(&signature) {
                push("in DER".into(), signature.to_der().as_bytes());
            }
        }
        all
    }

    fn odd_parts(&self, now: u64) -> Vec<Candidate> {
        let token = self.signed(&claims(now));
        let parts: Vec<_> = token.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            panic!("three parts")
        };
        let jwe = encode(r#"{"alg":"dir","enc":"A128GCM"}"#);
        let mut all: Vec<_> = [
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            format!("{header}..{signature}"),
            format!(".{payload}.{signature}"),
            format!("{header}.{payload}..{signature}"),
            format!("{header}..{payload}.{signature}"),
            format!(".{token}"),
            format!("{token}."),
            format!("{token}.."),
            format!("{token}.e30"),
            format!("{token}.{signature}"),
            format!("{jwe}..e30.e30.e30"),
            format!("{header}.{payload}.SIGNATURE_REMOVED_BY_GOOGLE"),
            format!("{token}="),
            format!("{token}=="),
            format!("{token} "),
            format!("{token} x"),
            format!("{token},{token}"),
            format!("{token}, Bearer {token}"),
            format!("{token};x=y"),
            format!(" {token}"),
            format!("\"{token}\""),
            format!("Bearer {token}"),
            String::new(),
            ".".into(),
            "..".into(),
            "...".into(),
            format!(
                r#"{{"payload":"{payload}","protected":"{header}","signature":"{signature}"}}"#
            ),
        ]
        .map(|token| {
            let name = token.replace(header, "H").replace(payload, "P");
            named(name.replace(signature, "S"), token)
        })
        .into();
        for size in [2_000, 8_000, 12_500, 20_000] {
            let mut claims = claims(now);
            claims["x"] = json!("x".repeat(size));
            all.push(named(format!("payload of {size}"), self.signed(&claims)));
            let header = Map::from_iter([("x".to_owned(), claims["x"].clone())]);
            let token = mint(self.key("ES256"), "ES256", &header, &self::claims(now));
            all.push(named(format!("header of {size}"), token));
        }
        all
    }
}

/// Times among them are well away from any edge, so that it does not matter when they are judged.
fn odd_values(now: u64) -> Vec<Value> {
    let past = now - 1000;
    vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(0.5),
        json!(past),
        json!(past as f64 + 0.5),
        json!(past * 1000),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(""),
        json!("x"),
        json!(past.to_string()),
        json!([]),
        json!([[]]),
        json!([null]),
        json!([1]),
        json!([""]),
        json!({}),
        json!({ "a": { "b": [] } }),
        json!("\u{0}"),
        json!("\u{7f}\u{e9}\u{1f512}"),
        json!(ISS),
        json!([ISS]),
        json!(format!("{ISS}/")),
        json!(ISS.to_uppercase()),
        json!(AUD),
        json!([AUD]),
        json!(["other", AUD]),
        json!([AUD, 1]),
        json!([AUD, null]),
        json!({ AUD: AUD }),
        json!(format!("{AUD}/")),
        json!(format!("{AUD}//")),
        json!(format!("{AUD} ")),
        json!(AUD.replace("https", "http")),
        json!(AUD.replace("https://", "")),
        json!([AUD.replace("https://", "")]),
        json!(AUD.to_uppercase()),
        json!(format!("{AUD}.evil.example")),
    ]
}

/// Other spellings of a JSON object, some of them no JSON.
fn respelled(text: &str, member: &str) -> Vec<(String, Vec<u8>)> {
    let inner = text.trim_start_matches('{').trim_end_matches('}');
    let (first, rest) = member.split_at(1);
    let escaped = format!("\"\\u{:04x}{rest}\"", first.as_bytes()[0]);
    let quoted = format!("\"{member}\"");
    let texts = [
        ("spaces", format!(" \t\r\n{{ {inner} }} \n")),
        ("form feed", format!("\u{c}{text}")),
        ("byte order mark", format!("\u{feff}{text}")),
        ("nothing", String::new()),
        ("empty", "{}".into()),
        ("list", format!("[{text}]")),
        ("null", "null".into()),
        ("string", "\"x\"".into()),
        ("two texts", format!("{text}{text}")),
        ("brace behind", format!("{text}}}")),
        ("letter behind", format!("{text}x")),
        ("NUL behind", format!("{text}\0")),
        ("not closed", format!("{{{inner}")),
        ("comma at the end", format!("{{{inner},}}")),
        ("comma at the start", format!("{{,{inner}}}")),
        ("comment", format!("/* */{text}")),
        ("single quotes", text.replace('"', "'")),
        ("bare names", text.replace(&quoted, member)),
        ("escaped name", text.replace(&quoted, &escaped)),
        ("equal sign", text.replacen(':', "=", 1)),
        ("same member twice", format!("{{{inner},{inner}}}")),
        ("null first", format!("{{{quoted}:null,{inner}}}")),
        ("null last", format!("{{{inner},{quoted}:null}}")),
        ("twice, escaped", format!("{{{escaped}:1,{inner}}}")),
        (
            "other case too",
            format!("{{{},{inner}}}", r#""EXP":1,"ALG":"none""#),
        ),
        (
            "nested twice",
            format!("{{\"x\":{{\"a\":1,\"a\":2}},{inner}}}"),
        ),
        ("empty name", format!("{{\"\":1,{inner}}}")),
        (
            "NUL in a name",
            format!("{{\"{member}\\u0000\":1,{inner}}}"),
        ),
        (
            "raw control character",
            format!("{{\"x\":\"\u{1}\",{inner}}}"),
        ),
        ("raw newline", format!("{{\"x\":\"\n\",{inner}}}")),
        ("unknown escape", format!("{{\"x\":\"\\q\",{inner}}}")),
        ("escaped newline", format!("{{\"x\":\"\\n\",{inner}}}")),
        (
            "surrogate pair",
            format!("{{\"x\":\"\\ud83d\\ude00\",{inner}}}"),
        ),
        (
            "lone high surrogate",
            format!("{{\"x\":\"\\ud800\",{inner}}}"),
        ),
        (
            "lone low surrogate",
            format!("{{\"x\":\"\\udc00\",{inner}}}"),
        ),
        (
            "surrogates swapped",
            format!("{{\"x\":\"\\ude00\\ud83d\",{inner}}}"),
        ),
        (
            "noncharacter",
            format!("{{\"x\":\"\\uffff\u{ffff}\",{inner}}}"),
        ),
    ];
    let mut all: Vec<_> = texts
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .into();
    for (name, octets) in [
        ("UTF-8 cut off", &b"\xe2\x82"[..]),
        ("UTF-8 too long", b"\xc0\xaf"),
        ("UTF-8 of a surrogate", b"\xed\xa0\x80"),
        ("UTF-8 beyond Unicode", b"\xf4\x90\x80\x80"),
        ("Latin-1", b"\xe9"),
    ] {
        let text = [b"{\"x\":\"", octets, b"\",", inner.as_bytes(), b"}"].concat();
        all.push((name.into(), text));
    }
    let utf16 = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    all.push(("UTF-16".into(), utf16));
    for depth in [5, 20, 30, 31, 32, 33, 60, 90, 98, 99, 100, 101, 150, 1000] {
        for (name, open, close) in [("lists", "[", "]"), ("objects", "{\"a\":", "}")] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let text = format!("{{\"x\":{nested},{inner}}}");
            all.push((format!("{depth} {name}"), text.into_bytes()));
        }
    }
    all
}

/// The text with one octet replaced, put in or left out, `times` over for every place; the octets
/// take turns, so that each kind meets many places.
fn changes(text: &[u8], octets: &[u8], times: usize, rng: &mut TestRng) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut turn = rng.next_u32() as usize;
    for at in 0..text.len() {
        for _ in 0..times {
            turn += 1;
            let octet = octets[turn % octets.len()];
            let mut changed = text.to_vec();
            let what = match rng.next_u32() % 8 {
                0 => {
                    changed.remove(at);
                    format!("without octet {at}")
                }
                1..4 => {
                    changed.insert(at, octet);
                    format!("{octet:#04x} before octet {at}")
                }
                _ => {
                    changed[at] = octet;
                    format!("{octet:#04x} as octet {at}")
                }
            };
            all.push((what, changed));
        }
    }
    all
}
