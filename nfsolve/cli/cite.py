"""Citations: the BibTeX of the methods that a run used."""

import json
import re
from typing import Any

WIRE = """@inproceedings{saragadam2023wire,
  title = {{WIRE}: Wavelet Implicit Neural Representations},
  author = {Saragadam, Vishwanath and LeJeune, Daniel and Tan, Jasper and Balakrishnan, Guha and others},
  booktitle = {Conference on Computer Vision and Pattern Recognition},
  year = {2023}
}"""
CHNG = """@article{chng2024preconditioners,
  title = {Preconditioners for the Stochastic Training of Neural Fields},
  author = {Chng, Shin-Fang and Saratchandran, Hemanth and Lucey, Simon},
  journal = {arXiv preprint arXiv:2402.08784},
  year = {2024}
}"""
ENTRIES = {
    "WeightScaling": """@inproceedings{yeom2025fast,
  title = {Fast Training of Sinusoidal Neural Fields via Scaling Initialization},
  author = {Yeom, Taesun and Lee, Sangyoon and Lee, Jaeho},
  booktitle = {International Conference on Learning Representations},
  year = {2025}
}""",
    "RandomWeightFactorization": """@article{wang2022random,
  title = {Random Weight Factorization Improves the Training of Continuous Neural Representations},
  author = {Wang, Sifan and Wang, Hanwen and Seidman, Jacob H. and Perdikaris, Paris},
  journal = {arXiv preprint arXiv:2210.01274},
  year = {2022}
}""",
    "ESGD": """@inproceedings{dauphin2015equilibrated,
  title = {Equilibrated adaptive learning rates for non-convex optimization},
  author = {Dauphin, Yann and de Vries, Harm and Bengio, Yoshua},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2015}
}

"""
    + CHNG,
    "ESGDMax": CHNG,
    "AdaHessian": """@inproceedings{yao2021adahessian,
  title = {{ADAHESSIAN}: An Adaptive Second Order Optimizer for Machine Learning},
  author = {Yao, Zhewei and Gholami, Amir and Shen, Sheng and Mustafa, Mustafa and Keutzer, Kurt and others},
  booktitle = {AAAI Conference on Artificial Intelligence},
  year = {2021}
}""",
    "GaussNewton": """@article{transtrum2012improvements,
  title = {Improvements to the Levenberg-Marquardt algorithm for nonlinear least-squares minimization},
  author = {Transtrum, Mark K. and Sethna, James P.},
  journal = {arXiv preprint arXiv:1201.5885},
  year = {2012}
}""",
    "SSBroyden": """@article{urban2025unveiling,
  title = {Unveiling the optimization process of Physics Informed Neural Networks: How accurate and competitive can
           {PINNs} be?},
  author = {Urb{\\'a}n, Jorge F. and Stefanou, Petros and Pons, Jos{\\'e} A.},
  journal = {Journal of Computational Physics},
  volume = {523},
  year = {2025}
}""",
    "SSBFGS": """@article{albaali1998numerical,
  title = {Numerical Experience with a Class of Self-Scaling Quasi-Newton Algorithms},
  author = {Al-Baali, Mehiddin},
  journal = {Journal of Optimization Theory and Applications},
  volume = {96},
  year = {1998}
}""",
    "NystromNewtonCG": """@inproceedings{rathore2024challenges,
  title = {Challenges in Training {PINNs}: A Loss Landscape Perspective},
  author = {Rathore, Pratik and Lei, Weimu and Frangella, Zachary and Lu, Lu and Udell, Madeleine},
  booktitle = {International Conference on Machine Learning},
  year = {2024}
}""",
    "Shampoo": """@inproceedings{gupta2018shampoo,
  title = {Shampoo: Preconditioned Stochastic Tensor Optimization},
  author = {Gupta, Vineet and Koren, Tomer and Singer, Yoram},
  booktitle = {International Conference on Machine Learning},
  year = {2018}
}""",
    "KFAC": """@inproceedings{martens2015optimizing,
  title = {Optimizing Neural Networks with {Kronecker}-factored Approximate Curvature},
  author = {Martens, James and Grosse, Roger},
  booktitle = {International Conference on Machine Learning},
  year = {2015}
}

@inproceedings{dangel2024kronecker,
  title = {Kronecker-Factored Approximate Curvature for Physics-Informed Neural Networks},
  author = {Dangel, Felix and M{\\"u}ller, Johannes and Zeinhofer, Marius},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2024}
}""",
    "SOAP": """@inproceedings{vyas2025soap,
  title = {{SOAP}: Improving and Stabilizing {Shampoo} using {Adam}},
  author = {Vyas, Nikhil and Morwani, Depen and Zhao, Rosie and Shapira, Itai and Brandfonbrener, David and others},
  booktitle = {International Conference on Learning Representations},
  year = {2025}
}""",
    "Muon": """@misc{jordan2024muon,
  title = {Muon: An optimizer for hidden layers in neural networks},
  author = {Jordan, Keller and Jin, Yuchen and Boza, Vlado and You, Jiacheng and Cesista, Franz and others},
  year = {2024}
}""",
    "LBFGS": """@article{liu1989limited,
  title = {On the limited memory {BFGS} method for large scale optimization},
  author = {Liu, Dong C. and Nocedal, Jorge},
  journal = {Mathematical Programming},
  volume = {45},
  pages = {503--528},
  year = {1989}
}""",
    "Siren": """@inproceedings{sitzmann2020implicit,
  title = {Implicit Neural Representations with Periodic Activation Functions},
  author = {Sitzmann, Vincent and Martel, Julien and Bergman, Alexander and Lindell, David and Wetzstein, Gordon},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020}
}""",
    "activations:ComplexGabor": WIRE,
    "activations:RealGabor": WIRE,
    "activations:Gaussian": """@inproceedings{ramasinghe2022beyond,
  title = {Beyond Periodicity: Towards a Unifying Framework for Activations in Coordinate-{MLPs}},
  author = {Ramasinghe, Sameera and Lucey, Simon},
  booktitle = {European Conference on Computer Vision},
  year = {2022}
}""",
    "activations:Finer": """@inproceedings{liu2024finer,
  title = {{FINER}: Flexible Spectral-Bias Tuning in Implicit {NEural} Representation by Variable-Periodic Activation
           Functions},
  author = {Liu, Zhen and Zhu, Hao and Zhang, Qi and Fu, Jingde and Deng, Weibing and Ma, Zhan and others},
  booktitle = {Conference on Computer Vision and Pattern Recognition},
  year = {2024}
}""",
    "activations:Sinc": """@inproceedings{saratchandran2024sampling,
  title = {A Sampling Theory Perspective on Activations for Implicit Neural Representations},
  author = {Saratchandran, Hemanth and Ramasinghe, Sameera and Shevchenko, Violetta and Long, Alexander and others},
  booktitle = {International Conference on Machine Learning},
  year = {2024}
}""",
    "SmallLast": """@inproceedings{saratchandran2024activation,
  title = {From Activation to Initialization: Scaling Insights for Optimizing Neural Fields},
  author = {Saratchandran, Hemanth and Ramasinghe, Sameera and Lucey, Simon},
  booktitle = {Conference on Computer Vision and Pattern Recognition},
  year = {2024}
}""",
    "GaussianFourier": """@inproceedings{tancik2020fourier,
  title = {Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains},
  author = {Tancik, Matthew and Srinivasan, Pratul and Mildenhall, Ben and others},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020}
}""",
    "FeatureGrid": """@article{mueller2022instant,
  title = {Instant Neural Graphics Primitives with a Multiresolution Hash Encoding},
  author = {M{\\"u}ller, Thomas and Evans, Alex and Schied, Christoph and Keller, Alexander},
  journal = {ACM Transactions on Graphics},
  volume = {41},
  number = {4},
  year = {2022}
}""",
    '"physics": true': """@article{wang2021learning,
  title = {Learning the solution operator of parametric partial differential equations with physics-informed
           {DeepONets}},
  author = {Wang, Sifan and Wang, Hanwen and Perdikaris, Paris},
  journal = {Science Advances},
  volume = {7},
  pages = {eabi8605},
  year = {2021}
}""",
    "DeepONet": """@article{lu2021learning,
  title = {Learning nonlinear operators via {DeepONet} based on the universal approximation theorem of operators},
  author = {Lu, Lu and Jin, Pengzhan and Pang, Guofei and Zhang, Zhongqiang and Karniadakis, George Em},
  journal = {Nature Machine Intelligence},
  volume = {3},
  pages = {218--229},
  year = {2021}
}""",
    "ModifiedDeepONet": """@article{wang2022improved,
  title = {Improved Architectures and Training Algorithms for Deep Operator Networks},
  author = {Wang, Sifan and Wang, Hanwen and Perdikaris, Paris},
  journal = {Journal of Scientific Computing},
  volume = {92},
  year = {2022}
}""",
    "ShiftDeepONet": """@inproceedings{lanthaler2023nonlinear,
  title = {Nonlinear Reconstruction for Operator Learning of {PDEs} with Discontinuities},
  author = {Lanthaler, Samuel and Molinaro, Roberto and Hadorn, Patrik and Mishra, Siddhartha},
  booktitle = {International Conference on Learning Representations},
  year = {2023}
}""",
    "NonlinearDeepONet": """@inproceedings{seidman2022nomad,
  title = {{NOMAD}: Nonlinear Manifold Decoders for Operator Learning},
  author = {Seidman, Jacob H. and Kissas, Georgios and Perdikaris, Paris and Pappas, George J.},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {35},
  year = {2022}
}""",
    "PODDeepONet": """@article{lu2022comprehensive,
  title = {A comprehensive and fair comparison of two neural operators (with practical extensions) based on {FAIR}
           data},
  author = {Lu, Lu and Meng, Xuhui and Cai, Shengze and Mao, Zhiping and Goswami, Somdatta and Zhang, Zhongqiang and
            Karniadakis, George Em},
  journal = {Computer Methods in Applied Mechanics and Engineering},
  volume = {393},
  year = {2022}
}""",
    "problems.nerf": """@inproceedings{mildenhall2020nerf,
  title = {{NeRF}: Representing Scenes as Neural Radiance Fields for View Synthesis},
  author = {Mildenhall, Ben and Srinivasan, Pratul P. and Tancik, Matthew and Barron, Jonathan T. and others},
  booktitle = {European Conference on Computer Vision},
  year = {2020}
}

@article{li2023nerfacc,
  title = {{NerfAcc}: Efficient Sampling Accelerates {NeRFs}},
  author = {Li, Ruilong and Gao, Hang and Tancik, Matthew and Kanazawa, Angjoo},
  journal = {arXiv preprint arXiv:2305.04966},
  year = {2023}
}""",
    '"problems.nerf.photographs:NeRF"': """@inproceedings{fridovichkeil2022plenoxels,
  title = {Plenoxels: Radiance Fields without Neural Networks},
  author = {Fridovich-Keil, Sara and Yu, Alex and Tancik, Matthew and Chen, Qinhong and Recht, Benjamin and others},
  booktitle = {Conference on Computer Vision and Pattern Recognition},
  year = {2022}
}""",
    '"refine_poses": true': """@inproceedings{lin2021barf,
  title = {{BARF}: Bundle-Adjusting Neural Radiance Fields},
  author = {Lin, Chen-Hsuan and Ma, Wei-Chiu and Torralba, Antonio and Lucey, Simon},
  booktitle = {International Conference on Computer Vision},
  year = {2021}
}""",
    "ResidualMLP": """@article{wang2024piratenets,
  title = {{PirateNets}: Physics-informed Deep Learning with Residual Adaptive Networks},
  author = {Wang, Sifan and Li, Bowen and Chen, Yuhan and Perdikaris, Paris},
  journal = {Journal of Machine Learning Research},
  volume = {25},
  number = {402},
  year = {2024}
}""",
    "FilterNetwork": """@inproceedings{fathony2021multiplicative,
  title = {Multiplicative Filter Networks},
  author = {Fathony, Rizal and Sahu, Anit Kumar and Willmott, Devin and Kolter, J. Zico},
  booktitle = {International Conference on Learning Representations},
  year = {2021}
}""",
    "GradientNorm": """@article{wang2021understanding,
  title = {Understanding and Mitigating Gradient Flow Pathologies in Physics-Informed Neural Networks},
  author = {Wang, Sifan and Teng, Yujun and Perdikaris, Paris},
  journal = {SIAM Journal on Scientific Computing},
  volume = {43},
  pages = {A3055--A3081},
  year = {2021}
}""",
    "balance:NTK": """@article{wang2022when,
  title = {When and why {PINNs} fail to train: A neural tangent kernel perspective},
  author = {Wang, Sifan and Yu, Xinling and Perdikaris, Paris},
  journal = {Journal of Computational Physics},
  volume = {449},
  pages = {110768},
  year = {2022}
}""",
    "SelfAdaptive": """@article{mcclenny2023self,
  title = {Self-adaptive physics-informed neural networks},
  author = {McClenny, Levi D. and Braga-Neto, Ulisses M.},
  journal = {Journal of Computational Physics},
  volume = {474},
  pages = {111722},
  year = {2023}
}""",
    "points:RBA": """@article{anagnostopoulos2024residual,
  title = {Residual-based attention in physics-informed neural networks},
  author = {Anagnostopoulos, Sokratis J. and Toscano, Juan Diego and Stergiopulos, Nikolaos and Karniadakis, George Em},
  journal = {Computer Methods in Applied Mechanics and Engineering},
  volume = {421},
  pages = {116805},
  year = {2024}
}""",
    "causal:Causal": """@article{wang2024respecting,
  title = {Respecting causality for training physics-informed neural networks},
  author = {Wang, Sifan and Sankaran, Shyam and Perdikaris, Paris},
  journal = {Computer Methods in Applied Mechanics and Engineering},
  volume = {421},
  pages = {116813},
  year = {2024}
}""",
}

NFSOLVE = """@software{nfsolve,
  title = {nfsolve: physics and inverse problems solved with neural fields},
  author = {{The nfsolve founders}},
  year = {2026},
  version = {0.1.0}
}"""


def used_in(config: dict[str, Any]) -> list[str]:
    """Find the methods with a citation in the config of a run.

    Args:
        config: The run's ``config.json``.

    Returns:
        Keys of `ENTRIES`.
    """
    text = json.dumps(config)
    return [name for name in ENTRIES if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]


def bibtex(methods: list[str]) -> str:
    """Return the BibTeX of nfsolve and of some methods.

    Args:
        methods: Keys of `ENTRIES`.

    Returns:
        BibTeX entries, separated by empty lines.
    """
    entries = [entry for name in methods for entry in ENTRIES[name].split("\n\n")]
    return "\n\n".join(dict.fromkeys([NFSOLVE, *entries]))  # two methods may share one
