"""scikit-learn's grid search on cmpi's processes, through joblib.

pip install scikit-learn
cmpirun python grid_search.py
"""

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

import cmpi
import cmpi.joblib  # joblib knows "cmpi" from here on

if __name__ == "__main__":
    cmpi.init()
    X, y = load_digits(return_X_y=True)
    search = GridSearchCV(SVC(), {"C": [1, 10], "gamma": [0.0005, 0.001, 0.01]}, cv=3)
    with joblib.parallel_config("cmpi", n_jobs=-1):
        search.fit(X, y)
    print(f"best: {search.best_params_}, accuracy {search.best_score_:.3f}")
