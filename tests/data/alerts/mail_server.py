"""A mail server: keeps what it gets in a folder, refuses wrong logins and recipients named refused@."""
import asyncio, json, os, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult

folder, mode, cert, key, login = sys.argv[1:]  # mode: starttls, tls, none; login: user:password or ""


class Handler:
    def __init__(self):
        self.count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused@"):
            return "550 5.1.1 nobody here of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        path = os.path.join(folder, f"{self.count}.json")
        kept = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None or mode == "tls",
            "login": session.authenticated,
            "letter": envelope.content.decode(),
        }
        with open(path + ".tmp", "w") as file:
            json.dump(kept, file)
        os.rename(path + ".tmp", path)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    if f"{data.login.decode()}:{data.password.decode()}" == login:
        return AuthResult(success=True)
    return AuthResult(success=False, handled=False)


async def main():
    context = None
    if cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
    handler = Handler()

    def session():
        return SMTP(
            handler,
            hostname="mail.test",
            tls_context=context if mode == "starttls" else None,
            require_starttls=mode == "starttls",
            authenticator=authenticate if login else None,
            auth_required=bool(login),
            auth_require_tls=mode == "starttls",
        )

    server = await asyncio.get_running_loop().create_server(
        session, "127.0.0.1", 0, ssl=context if mode == "tls" else None
    )
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
