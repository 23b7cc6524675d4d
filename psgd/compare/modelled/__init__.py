"""The modelled clock: how long a finished run would have taken on other machines and another network."""
