"""Figures drawn from collected tables; each module takes polars frames and draws on given axes."""
