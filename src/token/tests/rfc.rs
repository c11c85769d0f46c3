//! The examples of RFC 7515 appendix A and RFC 7519 §3.1: HS256, RS256, ES256 and ES512.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::token::jws::Compact;

const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

struct Example {
    header: &'static str,
    payload: &'static str,
    signature: &'static str,
    jwk: Value,
}

fn a1_hs256() -> Example {
    Example {
        header: "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        payload: PAYLOAD,
        signature: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        jwk: json!({
            "kty": "oct",
            "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        }),
    }
}

fn a2_rs256() -> Example {
    Example {
        header: "eyJhbGciOiJSUzI1NiJ9",
        payload: PAYLOAD,
        signature: "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        jwk: json!({
            "kty": "RSA",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
            "e": "AQAB",
        }),
    }
}

fn a3_es256() -> Example {
    Example {
        header: "eyJhbGciOiJFUzI1NiJ9",
        payload: PAYLOAD,
        signature: "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        jwk: json!({
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }),
    }
}

fn a4_es512() -> Example {
    Example {
        header: "eyJhbGciOiJFUzUxMiJ9",
        payload: "UGF5bG9hZA",
        signature: "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
        jwk: json!({
            "kty": "EC",
            "crv": "P-521",
            "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
            "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
        }),
    }
}

#[test]
fn every_signature_of_the_appendix_verifies() {
    for example in [a1_hs256(), a2_rs256(), a3_es256(), a4_es512()] {
        let text = format!(
            "{}.{}.{}",
            example.header, example.payload, example.signature
        );
        let token = Compact::parse(text.as_bytes()).ok().unwrap();
        let algorithm = Algorithm::named(&token.header.algorithm).unwrap();
        let key = PublicKey::from_jwk(example.jwk.as_object().unwrap(), Secrets::Allowed).unwrap();
        let verify = |message: &[u8]| InWasm.verify(&key, algorithm, message, &token.signature);
        assert!(verify(token.signing_input), "{algorithm}");
        assert!(!verify(&token.signing_input[1..]), "{algorithm}");
    }
}

#[test]
fn an_unsecured_token_is_refused() {
    // RFC 7515 appendix A.5, RFC 7519 §6.1.
    let token = format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.");
    assert_eq!(refused(&token), Code::TokenMalformed);
}

#[test]
fn the_json_serializations_are_refused() {
    // RFC 7515 appendices A.6 and A.7.
    let Example {
        header,
        payload,
        signature,
        ..
    } = a3_es256();
    let flattened = json!({ "payload": payload, "protected": header, "signature": signature });
    let general = json!({
        "payload": payload,
        "signatures": [{ "protected": header, "signature": signature }],
    });
    for text in [flattened.to_string(), general.to_string()] {
        // A comma looks like two joined fields; without it the parts are wrong.
        assert_eq!(refused(&text), Code::TokenAmbiguous);
        assert_eq!(refused(&text.replace(',', "")), Code::TokenMalformed);
    }
}

#[test]
fn the_claims_of_rfc_7519_are_read_as_it_says() {
    // RFC 7519 §3.1 with the key of RFC 7515 appendix A.3: issuer "joe", no audience.
    let Example {
        header,
        payload,
        signature,
        mut jwk,
    } = a3_es256();
    jwk["kid"] = json!("a3");
    let mut issuers = WORLD.issuers.clone();
    issuers[0] = issuer("joe", "joe", &[jwk]);
    let head = bearer(&format!("{header}.{payload}.{signature}"));
    let at = |now: u64| {
        let env = Env {
            now: UnixTime(now),
            keys: &InlineOnly,
            identities: &identity::NoIdentities,
            crypto: &InWasm,
            cache: None,
        };
        let access = Access::restricted(shop_only());
        refusal(access.check(&issuers, &head, &env, &mut Trace::off())).code
    };
    assert_eq!(at(1_300_819_380 + 60), Code::TokenExpired);
    assert_eq!(at(1_300_819_380 + 59), Code::AudienceMismatch);
}
