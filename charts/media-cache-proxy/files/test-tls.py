"""helm test: the webhook answers over TLS under its Service's name, with a certificate that its CA signed."""

import http.client
import os
import ssl
import sys

context = ssl.create_default_context(cafile=os.environ["CA_FILE"])
connection = http.client.HTTPSConnection(
    os.environ["WEBHOOK_HOST"], int(os.environ.get("WEBHOOK_PORT", "443")), context=context, timeout=10
)
connection.request("POST", "/mutate", body=b"{}", headers={"Content-Type": "application/json"})
response = connection.getresponse()
text = response.read().decode()
# What is no AdmissionReview gets a 400 that says so: the webhook itself has answered.
if (response.status, text) != (400, "the body is not an AdmissionReview\n"):
    sys.exit(f"the webhook answered {response.status}: {text}")
sys.stdout.write("the webhook answers over TLS\n")
