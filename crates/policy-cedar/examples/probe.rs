use cedar_policy::*;
use std::str::FromStr;
fn main() {
    for s in [
        "namespace Detail { entity String = { a?: String }; }",
        "entity Audience; namespace Detail { entity Audience in [Audience]; }",
        "type Task = {a: Long}; namespace Detail { entity Task = {a: String}; }",
        "entity A = { \"x\"?: String, \"x\"?: Long };",
        "entity W; entity R; action \"a\"; action \"a\" appliesTo {principal: [W], resource: [R]};",
        "namespace Detail { entity If; }",
        "namespace Detail { entity in; }",
        "namespace Detail { entity True; entity Set; entity Record; entity Extension; entity Long = {s: Set<__cedar::String>, l: __cedar::Long}; }",
        "namespace Detail { entity T in [Audience]; } entity Audience;",
        "entity A = { \"a\\u{301}b\"?: String };",
        "namespace Detail { entity datetime; entity ipaddr; }",
        "entity Workload; namespace Detail { entity X = { w: __cedar::String}; entity __cedar; }",
    ] {
        match Schema::from_cedarschema_str(s) { Ok(_) => println!("OK  {s}"), Err(e) => { println!("ERR {s}\n    {e}"); let mut c = std::error::Error::source(&e); while let Some(i)=c { println!("      < {i}"); c=i.source(); } } }
    }
    let t = "// c; \"\n@id(\"a\")\npermit (principal, action, resource)\nwhen { context.x <= 5 && context.y in [A::\"1\"] }\nwhen { !(context has z) || resource.amount > 5 }\nunless { principal.a == 1 && true };\n@id(\"b\") forbid (principal is W in A::\"x\", action in [Action::\"z\"], resource in A::\"1\") when { (if true then resource else resource).foo == 1 };";
    let set = PolicySet::from_str(t).unwrap();
    for p in set.policies() { println!("{} {}", p.id(), p.to_json().unwrap()); println!("{}", p.to_cedar().unwrap()); }
    for bad in ["@id(\"a\") permit (", "@id(\"a\")\npermit (principal, action, resource)\nwhen { foo( };", "\n\n@id(\"a\") permit (principal, action, resource) where { 1 == 2 };\n@id(\"\") @id(\"q\") permit(principal,action,resource);"] {
        let e = PolicySet::from_str(bad).unwrap_err();
        for x in e.iter() { println!("{x}"); }
    }
}
