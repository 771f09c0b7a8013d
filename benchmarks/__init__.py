"""What nbsession costs, measured: ``python -m benchmarks`` runs every module's ``main()``."""
