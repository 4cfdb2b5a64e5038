"""Memories of a sales team: two targets among five hundred similar memories."""

from random import Random

DEAL = {
    "content": "Opportunity: Acme Corp Enterprise License 250,000, stage Negotiation, owner Maria",
    "entity": {"system": "salesforce", "id": "006Hs00001AbCdEIAV", "type": "Opportunity"},
}
CASE = {
    "content": "Case 98231: Globex Freight warehouse scanner loses its connection, priority High",
    "entity": {"system": "salesforce", "id": "500Hs00001XyZwVIAV", "type": "Case"},
}
COMPANIES = [
    "Acme", "Beacon", "Cobalt", "Dynamo", "Everest", "Falcon", "Granite", "Horizon", "Ironwood", "Juniper", "Keystone",
    "Lumina", "Meridian", "Nimbus", "Orchid", "Pinnacle", "Quartz", "Redwood", "Summit", "Titan",
]  # fmt: skip
FORMS = ["Corp", "Industries", "Holdings", "Logistics", "Partners"]
PRODUCTS = ["Enterprise License", "Support Renewal", "Cloud Migration", "Training Package", "Data Platform"]
STAGES = ["Prospecting", "Negotiation", "Closed Won", "Proposal"]
PROBLEMS = ["cannot log in after the update", "invoice shows the wrong amount", "report export times out",
            "single sign-on fails", "dashboard loads slowly", "email notifications are missing"]  # fmt: skip
PEOPLE, FAMILIES = ["Maria", "Jonas", "Priya", "Chen", "Fatima", "Liam"], ["Smith", "Weber", "Rossi", "Khan"]


def build_lookalikes() -> list[dict]:
    """Return five hundred similar ones, always the same; none has a target's amount, number, or company and product."""
    choose, found = Random(5), []
    for number, (company, form) in enumerate((company, form) for company in COMPANIES for form in FORMS):
        who = f"{company} {form}"
        for part in range(2):
            product = choose.choice(PRODUCTS[1:] if company == "Acme" else PRODUCTS)
            amount = choose.choice([each for each in range(10, 900) if each != 250])
            stage, owner = choose.choice(STAGES), choose.choice(PEOPLE)
            content = f"Opportunity: {who} {product} {amount},000, stage {stage}, owner {owner}"
            found.append(build_entity(content, f"006Hs{number:05d}{part:05d}AAA", "Opportunity"))
        problem, priority = choose.choice(PROBLEMS), choose.choice(["High", "Low", "Medium"])
        content = f"Case {10_000 + number}: {who} {problem}, priority {priority}"
        found.append(build_entity(content, f"500Hs{number:010d}AAA", "Case"))
        person, task = (
            f"{choose.choice(PEOPLE)} {choose.choice(FAMILIES)}",
            choose.choice(["CFO", "buyer", "head of IT"]),
        )
        found.append(build_entity(f"Contact {person} of {who}, {task}", f"003Hs{number:010d}AAA", "Contact"))
        product, day = choose.choice(PRODUCTS[1:]).lower(), choose.choice(["Monday", "Tuesday", "Friday"])
        content = f"{choose.choice(PEOPLE)} asked to call {who} back about the {product} on {day}"
        found.append({"content": content, "memory_type": "conversation_fact", "user_id": "ada"})
    return found


def build_entity(content: str, own: str, kind: str) -> dict:
    return build_target({"content": content, "entity": {"system": "salesforce", "id": own, "type": kind}})


def build_target(memory: dict) -> dict:
    return memory | {"memory_type": "domain_entity", "user_id": "ada"}
