"""How the tools that results rest on are cited; CITATION.cff names the same works."""

from __future__ import annotations

TOOLS = {
    "PyTorch": "Paszke et al. 2019, arXiv 1912.01703",
    "DeepSpeed": "Rasley et al. 2020, doi 10.1145/3394486.3406703",
    "Hugging Face Datasets": "Lhoest et al. 2021, arXiv 2109.02846",
    "Hugging Face Tokenizers": "Moi and Patry 2023, https://github.com/huggingface/tokenizers",
    "NumPy": "Harris et al. 2020, doi 10.1038/s41586-020-2649-2",
    "SciPy": "Virtanen et al. 2020, doi 10.1038/s41592-019-0686-2",
    "statsmodels": "Seabold and Perktold 2010, doi 10.25080/Majora-92bf1922-011",
    "scikit-learn": "Pedregosa et al. 2011, Journal of Machine Learning Research 12",
    "Polars": "Vink et al., https://github.com/pola-rs/polars",
    "Matplotlib": "Hunter 2007, doi 10.1109/MCSE.2007.55",
    "Snakemake": "Mölder et al. 2021, doi 10.12688/f1000research.29032.2",
    "MLflow": "Zaharia et al. 2018, IEEE Data Engineering Bulletin 41(4)",
}
