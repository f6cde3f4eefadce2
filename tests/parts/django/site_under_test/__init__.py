"""An ordinary Django project that trusts the gateway for who is asking."""
