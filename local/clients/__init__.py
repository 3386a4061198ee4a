"""`make clients`: types of the Items API and of the events, for Python and TypeScript.

Well-known generators make them of the documents: datamodel-code-generator and openapi-typescript.
"""
