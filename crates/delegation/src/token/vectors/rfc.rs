//! The examples of the standards: RFC 7515 A.1 to A.7, RFC 8037 A.4. (Those of RFC 7520 are among Wycheproof's.)

use serde_json::{Value, json};

use super::accepted;

const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn rfc7515_a2() -> (Value, String) {
    let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    (
        json!({ "kty": "RSA", "alg": "RS256", "n": n, "e": "AQAB" }),
        format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}.{signature}"),
    )
}

fn rfc7515_a3() -> (Value, String) {
    let jwk = json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    (jwk, format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}.{signature}"))
}

fn rfc7515_a4() -> (Value, String) {
    let jwk = json!({
        "kty": "EC", "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
    });
    let signature = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    (jwk, format!("eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.{signature}"))
}

fn rfc8037_a4() -> (Value, String) {
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    (jwk, format!("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.{signature}"))
}

#[test]
fn the_standards_own_examples_verify_with_their_own_keys_alone() {
    let examples = [rfc7515_a2(), rfc7515_a3(), rfc7515_a4(), rfc8037_a4()];
    for (at, (_, jws)) in examples.iter().enumerate() {
        for (other, (jwk, _)) in examples.iter().enumerate() {
            assert_eq!(accepted(jwk, jws), at == other, "example {at} with key {other}");
        }
    }
}

/// Right by RFC 7515, and nothing that we take: a shared secret, no signature, and the JSON serializations.
#[test]
fn what_the_standard_allows_and_we_do_not_is_refused() {
    let (a1, secret) = (
        format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        json!({
            "kty": "oct",
            "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        }),
    );
    let a5 = format!("eyJhbGciOiJub25lIn0.{CLAIMS}.");
    let (jwk, a3) = rfc7515_a3();
    let (protected, signature) = (a3.split('.').next().unwrap(), a3.rsplit('.').next().unwrap());
    let signed = json!({ "protected": protected, "signature": signature });
    let a6 = json!({ "payload": CLAIMS, "signatures": [signed] }).to_string();
    let a7 = json!({ "payload": CLAIMS, "protected": protected, "signature": signature }).to_string();
    assert!(accepted(&jwk, &a3));
    for (name, key, jws) in [("A.1", &secret, a1), ("A.5", &jwk, a5), ("A.6", &jwk, a6), ("A.7", &jwk, a7)] {
        assert!(!accepted(key, &jws), "{name}");
    }
}
