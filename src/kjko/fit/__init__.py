"""Fits: how the control of a step is found."""

from kjko.fit.adam import Adam as Adam
from kjko.fit.gauss_newton import GaussNewton as GaussNewton
from kjko.fit.levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
from kjko.fit.newton import Newton as Newton
